// The smallest program: append a message and read the timeline back. It needs a
// cluster at 127.0.0.1:7400, such as that of make run.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"tidemark/client"
)

func main() {
	c, err := client.New([]string{"127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	sent, err := c.Append(ctx, client.Draft{Timeline: "conv/7", Sender: "alice", Payload: []byte("hello")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("appended as", sent.SeqID)
	for message, err := range c.Messages(ctx, "conv/7") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %s\n", message.SeqID, message.Sender, message.Payload)
	}
}

package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"
)

// testTLS is mutual TLS in which a certificate's DNS name is a node id.
type testTLS struct{ config *tls.Config }

func (s testTLS) Client(conn net.Conn, id string) (net.Conn, error) {
	cfg := s.config.Clone()
	cfg.ServerName = id
	c := tls.Client(conn, cfg)
	return c, c.Handshake()
}

func (s testTLS) Server(conn net.Conn) (net.Conn, string, error) {
	c := tls.Server(conn, s.config)
	if err := c.Handshake(); err != nil {
		return nil, "", err
	}
	return c, c.ConnectionState().PeerCertificates[0].DNSNames[0], nil
}

// newAuthority returns a function that issues certificates of one authority.
func newAuthority(t *testing.T) func(id string) testTLS {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	caKey := newKey()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return func(id string) testTLS {
		key := newKey()
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), DNSNames: []string{id}, NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		return testTLS{&tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}}
	}
}

func withTLS(s TLS) func(*Config) { return func(c *Config) { c.TLS = s } }

// TestTLSSeam shows that mutual TLS fits in and that its identity rules over the preface.
func TestTLSSeam(t *testing.T) {
	issue, foreign := newAuthority(t), newAuthority(t)
	n2 := openMux(t, "n2", withTLS(issue("n2")))
	serve(t, n2, &fakeService{info: Info{NodeID: "n2"}})
	drain(t, n2.StreamLayer())

	n1 := openMux(t, "n1", withTLS(issue("n1")))
	if _, err := n1.Dial(testContext(t), KindRaft, "n2", n2.Advertise()); err != nil {
		t.Fatal(err)
	}
	if info, err := get(t, openClients(t, n1), "n2", n2.Advertise()).Info(testContext(t)); err != nil || info.NodeID != "n2" {
		t.Errorf("gRPC over TLS: %+v, %v", info, err)
	}

	refused := func(from *testMux, id string) Reason {
		t.Helper()
		_, err := from.Dial(testContext(t), KindRaft, id, n2.Advertise())
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("dial failed with %v, want a refusal", err)
		}
		return refused.Reason
	}
	liar := openMux(t, "n3", withTLS(issue("n4")))
	if got := refused(liar, "n2"); got != ReasonIdentity {
		t.Errorf("a node with another's certificate: %v", got)
	}
	n2.waitRefusal(t, true, ReasonIdentity)
	if got := refused(n1, "n5"); got != ReasonTLS {
		t.Errorf("dialing one node and reaching another: %v", got)
	}
	stranger := openMux(t, "n6", withTLS(foreign("n6")))
	if got := refused(stranger, "n2"); got != ReasonTLS {
		t.Errorf("a node of another authority: %v", got)
	}
	plain := openMux(t, "n7", nil)
	if _, err := plain.Dial(testContext(t), KindRaft, "n2", n2.Advertise()); err == nil {
		t.Error("a node without TLS got in")
	}
	n2.waitRefusal(t, true, ReasonTLS)
}

//go:build linux

package host

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// filter is the packet filter of one namespace: a chain that sees every packet on
// its way in. It filters what arrives, not what leaves, because a sender is told
// when its own filter drops something, and a network tells nobody.
type filter struct {
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain
	// waiting holds packets back. It is made when it is first needed.
	waiting *waitingRoom
	ns      netns.NsHandle
}

func newFilter(ns netns.NsHandle) (*filter, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return nil, err
	}
	f := &filter{conn: conn, ns: ns}
	f.table = conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "faults"})
	f.chain = conn.AddChain(&nftables.Chain{
		Name: "arriving", Table: f.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("make a packet filter: %w", err)
	}
	return f, nil
}

// set replaces all rules by those for the faults, all at once. Packets that are held
// back already go on when their time has come.
func (f *filter) set(faults map[netip.Addr]link) error {
	f.conn.FlushChain(f.chain)
	for _, from := range slices.SortedFunc(maps.Keys(faults), netip.Addr.Compare) {
		l := faults[from]
		if l.cut {
			f.rule(from, &expr.Verdict{Kind: expr.VerdictDrop})
		}
		if l.loss > 0 {
			f.rule(from, lose(l.loss)...)
		}
		if l.delay == 0 {
			continue
		}
		number, err := f.hold(from, l)
		if err != nil {
			return err
		}
		f.rule(from, queue(number))
	}
	return f.conn.Flush()
}

// hold has the packets from an address wait from now on, in the queue that it returns.
func (f *filter) hold(from netip.Addr, l link) (uint16, error) {
	if f.waiting == nil {
		waiting, err := newWaitingRoom(f.ns)
		if err != nil {
			return 0, err
		}
		f.waiting = waiting
	}
	// Addresses are given one after the other, so that the last two bytes are unique.
	bytes := from.As4()
	number := binary.BigEndian.Uint16(bytes[2:])
	return number, f.waiting.set(number, l.delay, l.jitter)
}

// rule adds a rule for all packets from an address.
func (f *filter) rule(from netip.Addr, then ...expr.Any) {
	const sourceOffset, addressLen = 12, 4
	address := from.As4()
	f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: f.chain, Exprs: append([]expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: addressLen},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address[:]},
	}, then...)})
}

// lose drops a packet if a random number below lossUnit is below loss.
func lose(loss uint32) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Type: unix.NFT_NG_RANDOM, Modulus: lossUnit},
		// Numbers are compared byte by byte, so the first byte has to be the highest.
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(loss)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// queue hands a packet to the program that listens to the queue. It is the target of
// xtables, which more kernels have than the expression of nftables. Its data is the
// number of the queue in the order of the machine.
func queue(number uint16) expr.Any {
	info := xt.Unknown(binary.NativeEndian.AppendUint16(nil, number))
	return &expr.Target{Name: "NFQUEUE", Rev: 0, Info: &info}
}

// close ends the holding back; packets that wait are dropped with the namespace.
func (f *filter) close() error {
	if f.waiting == nil {
		return nil
	}
	return f.waiting.close()
}

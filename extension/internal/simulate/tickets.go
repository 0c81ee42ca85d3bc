package simulate

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	_ "crypto/sha256" // of the cipher suites
	_ "crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Servers on OpenSSL (uvicorn, nginx, Node, Python) send session tickets right behind a TLS 1.3 handshake, so a connection that
// was opened and not yet used has unread bytes. A server on Go's crypto/tls sends none to a client that offers no resumption,
// and has no call that sends one. So this one learns the key of its own side (KeyLogWriter), sends the tickets as the first
// records under it, and gives every record that crypto/tls makes afterwards its place behind them: it is opened and sealed again
// with a sequence number that is higher by the number of tickets. Nobody can resume with these tickets: a client that tries gets
// a full handshake, as from a server that was restarted.

// ticketSender is that for one connection. The secureSocket's mutex guards it.
type ticketSender struct {
	log   keyLog
	count uint64
	aead  cipher.AEAD // nil until the handshake is done
	iv    []byte
	next  uint64 // sequence number of the next record on the wire
}

// keyLog keeps the lines that crypto/tls writes about a connection's keys.
type keyLog struct{ bytes.Buffer }

// configOf returns the configuration of a connection.
func (l *secureLayer) configOf(s *secureSocket) *tls.Config {
	count := l.srv.config.TLSTickets
	if count == 0 {
		return l.config
	}
	s.tickets = &ticketSender{count: uint64(count)}
	config := l.config.Clone()
	config.SessionTicketsDisabled = true // those of crypto/tls
	config.KeyLogWriter = &s.tickets.log
	return config
}

// sendTickets sends the tickets; called when the handshake is done and before anything else is written.
func (s *secureSocket) sendTickets() error {
	if s.tickets == nil {
		return nil
	}
	state := s.tls.ConnectionState()
	s.mu.Lock()
	defer s.mu.Unlock()
	if state.Version != tls.VersionTLS13 { // older versions send them within the handshake
		s.tickets = nil
		return nil
	}
	if err := s.tickets.begin(state.CipherSuite); err != nil {
		return err
	}
	before := len(s.out)
	for range s.tickets.count {
		ticket, err := newSessionTicket()
		if err != nil {
			return err
		}
		const handshake = 22
		s.out = s.tickets.seal(s.out, append(ticket, handshake))
	}
	s.made += int64(len(s.out) - before)
	s.layer.srv.loop.flushLater(s)
	return nil
}

// newSessionTicket returns the message of RFC 8446, section 4.6.1, with a ticket of the size that OpenSSL's have.
func newSessionTicket() ([]byte, error) {
	const messageType, ticketBytes = 4, 240
	random := make([]byte, 4+8+ticketBytes) // age_add, nonce, ticket
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	body := binary.BigEndian.AppendUint32(nil, 7200) // lifetime, s
	body = append(body, random[:4]...)
	body = append(body, 8)
	body = append(body, random[4:12]...)
	body = binary.BigEndian.AppendUint16(body, ticketBytes)
	body = append(body, random[12:]...)
	body = append(body, 0, 0) // no extensions
	return append([]byte{messageType, 0, byte(len(body) >> 8), byte(len(body))}, body...), nil
}

// begin derives the key of the server's side from the secret in the log.
func (t *ticketSender) begin(suite uint16) error {
	hash, keyBytes := crypto.SHA256, 16
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		hash, keyBytes = crypto.SHA384, 32
	default:
		return fmt.Errorf("session tickets: the client chose %s, which this server cannot send them under", tls.CipherSuiteName(suite))
	}
	var secret []byte
	for line := range strings.Lines(t.log.String()) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "SERVER_TRAFFIC_SECRET_0" {
			secret, _ = hex.DecodeString(words[2])
		}
	}
	if len(secret) == 0 {
		return errors.New("session tickets: the server's secret is not known")
	}
	t.log.Reset()
	key, err := expandLabel(hash, secret, "key", keyBytes)
	if err != nil {
		return err
	}
	if t.iv, err = expandLabel(hash, secret, "iv", 12); err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	t.aead, err = cipher.NewGCM(block)
	return err
}

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, without a context.
func expandLabel(hash crypto.Hash, secret []byte, label string, length int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	return hkdf.Expand(hash.New, secret, string(info), length)
}

// nonce is that of the record with a sequence number.
func (t *ticketSender) nonce(sequence uint64) []byte {
	nonce := bytes.Clone(t.iv)
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(sequence >> (8 * i))
	}
	return nonce
}

const recordHeaderBytes = 5

// seal appends the next record to out; inner is its content with the content's type behind it.
func (t *ticketSender) seal(out, inner []byte) []byte {
	const applicationData = 23
	length := len(inner) + t.aead.Overhead()
	header := []byte{applicationData, 3, 3, byte(length >> 8), byte(length)}
	out = append(out, header...)
	out = t.aead.Seal(out, t.nonce(t.next), inner, header)
	t.next++
	return out
}

// shift appends records that crypto/tls made to out, after the handshake with their new sequence numbers.
func (t *ticketSender) shift(out, records []byte) ([]byte, error) {
	if t.aead == nil {
		return append(out, records...), nil
	}
	for len(records) > 0 {
		if len(records) < recordHeaderBytes {
			return out, errors.New("session tickets: half a record")
		}
		length := recordHeaderBytes + int(binary.BigEndian.Uint16(records[3:]))
		if length > len(records) {
			return out, errors.New("session tickets: half a record")
		}
		inner, err := t.aead.Open(nil, t.nonce(t.next-t.count), records[recordHeaderBytes:length], records[:recordHeaderBytes])
		if err != nil {
			return out, fmt.Errorf("session tickets: %w", err)
		}
		out = t.seal(out, inner)
		records = records[length:]
	}
	return out, nil
}

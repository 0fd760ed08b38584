package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// sealer turns a few bytes into text that only a holder of the key can read or
// make (AES-256-GCM with a random nonce).
type sealer struct{ aead cipher.AEAD }

// newSealer derives the sealer for one purpose, so that what was sealed for one
// can never pass for another.
func newSealer(key []byte, purpose string) sealer {
	sub, err := hkdf.Key(sha256.New, key, nil, "jackfield "+purpose, 32)
	if err != nil {
		panic(err) // only for lengths that nobody asks for
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		panic(err) // only for other key lengths
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // never, for AES
	}
	return sealer{aead}
}

var sealText = base64.RawURLEncoding.Strict()

func (s sealer) seal(plain []byte) string {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return s.sealWith(nonce, plain)
}

// sealWith seals with a nonce that must not seal anything else.
func (s sealer) sealWith(nonce, plain []byte) string {
	out := append(make([]byte, 0, len(nonce)+len(plain)+s.aead.Overhead()), nonce...)
	return sealText.EncodeToString(s.aead.Seal(out, nonce, plain, nil))
}

var errSeal = errors.New("not sealed here, or changed since")

func (s sealer) open(text string) ([]byte, error) {
	b, err := sealText.DecodeString(text)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, errSeal
	}
	nonce, box := b[:s.aead.NonceSize()], b[s.aead.NonceSize():]
	plain, err := s.aead.Open(box[:0], nonce, box, nil)
	if err != nil {
		return nil, errSeal
	}
	return plain, nil
}

// appendText appends s behind its length, so that what follows cannot be taken
// for a part of it.
func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// cutText reads what appendText wrote.
func cutText(b []byte) (s string, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, false
	}
	return string(b[size : size+int(n)]), b[size+int(n):], true
}

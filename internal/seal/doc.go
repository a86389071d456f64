// Package seal signs the messages of a fleet and verifies them. A signed message is the message with one more element
// at its end, which every reader of the unsigned form ignores:
//
//	MessagePack array    one more element: the seal
//	MessagePack map      one more key, "crossroom-seal": the seal
//	JSON object          one more key, "crossroom-seal": the seal in base64url, without padding
//
// The seal has 45 bytes, as an extension of type 0x43 in MessagePack:
//
//	version   1   1
//	key       4   names the key
//	session   8   random: a signer, which is one life of a node or an emitter
//	counter   8   of the signer's messages, from 1
//	time      8   of the signer's clock, in milliseconds of Unix time
//	tag      16   HMAC-SHA-256, truncated
//
// All numbers are big-endian. The tag covers the 29 bytes before it, the channel with the prefix of its broker, and
// every byte of the signed message before the seal. So nothing of a message can be changed, and a message of one
// channel, namespace, protocol or prefix is none of another.
//
// A [Signer] signs, in [Signer.Append], which [Broker] calls for everything that is published. A [Verifier] verifies,
// in [Verifier.Verify], and refuses messages that are older than [MaxAge], or that it has seen. A [Ring] has the keys
// of both.
package seal

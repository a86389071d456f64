// Package redisbroker is a broker on Redis pub/sub, with the channel names of
// socket.io-redis.
package redisbroker

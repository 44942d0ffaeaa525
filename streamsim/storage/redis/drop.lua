-- Forgets a delivery that is settled.
--
-- KEYS  1 those that are settled (zset)  2 deliveries (hash)  3 their states (hash)  4 those of the experiment (zset)
-- ARGV  1 id
-- Returns 1 when it was there

redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])

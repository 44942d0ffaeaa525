-- Stores deliveries to webhooks that are not there yet.
--
-- KEYS  1 deliveries (hash)  2 their states (hash)  3 those that wait (zset)  4 those of the experiment (zset)
-- ARGV  of each: id, record (JSON), due ms, created ms
-- Returns how many were stored

local call, added = redis.call, 0
for at = 1, #ARGV, 4 do
  if call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 1]) == 1 then
    call('HSET', KEYS[2], ARGV[at], '0 waiting 0 ')
    call('ZADD', KEYS[3], ARGV[at + 2], ARGV[at])
    call('ZADD', KEYS[4], ARGV[at + 3], ARGV[at])
    added = added + 1
  end
end
return added

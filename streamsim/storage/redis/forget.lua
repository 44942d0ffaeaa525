-- Drops advices or idempotency records of one experiment that are still over their date.
--
-- KEYS  1 closed or idle (zset)  2 the records (hash)
-- ARGV  1 date ms: what expires later stays  then pairs of member and field
-- Returns how many were dropped

local dropped = 0
for i = 2, #ARGV, 2 do
  local expires = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if expires and tonumber(expires) <= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
    dropped = dropped + redis.call('HDEL', KEYS[2], ARGV[i + 1])
  end
end
return dropped

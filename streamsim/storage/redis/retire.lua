-- Takes advices of archived experiments, and dropped ones, off the due list, so that they never time out but are forgotten.
--
-- KEYS  1 due (zset)  2 closed (zset)
-- ARGV  members
-- Returns how many were moved

local moved = 0
for _, member in ipairs(ARGV) do
  local expires = redis.call('ZSCORE', KEYS[1], member)
  if expires then
    redis.call('ZADD', KEYS[2], expires, member)
    redis.call('ZREM', KEYS[1], member)
    moved = moved + 1
  end
end
return moved

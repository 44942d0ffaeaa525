-- Hands out outbox entries to one drainer: first those that nobody finished in time, then new ones.
--
-- KEYS  1 outbox (stream)
-- ARGV  1 group, also the name of its one consumer: who holds an entry is told by how long it has been held
--       2 most entries  3 ms after which an entry is taken from a drainer that has not finished it
-- Returns a list of {id, {field, value}}

local call = redis.call
if call('EXISTS', KEYS[1]) == 0 then return {} end
local claimed = redis.pcall('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[1], ARGV[3], '0-0', 'COUNT', ARGV[2])
if claimed.err then
  if not string.find(claimed.err, 'NOGROUP', 1, true) then return claimed end
  call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
elseif #claimed[2] > 0 then
  return claimed[2]
end
local new = call('XREADGROUP', 'GROUP', ARGV[1], ARGV[1], 'COUNT', ARGV[2], 'STREAMS', KEYS[1], '>')
return new and new[1] and new[1][2] or {}

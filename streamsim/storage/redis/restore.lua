-- Writes rows of one theta group, whether the experiment is live or not.
--
-- KEYS  1 meta (hash)  2 sets (hash)  3 groups (hash)  4 the group (hash)
-- ARGV  1 name of the set  2 key  then pairs of value and JSON
-- Returns the version of the rows

local call = redis.call
local seq = tonumber(call('HGET', KEYS[1], 'seq') or 0)
local clock = call('TIME')
local version = string.format('%.0f', math.max(seq + 1, (clock[1] * 1000 + math.floor(clock[2] / 1000)) * 16))
for i = 3, #ARGV, 2 do call('HSET', KEYS[4], ARGV[i], version .. ':' .. ARGV[i + 1]) end
call('HSET', KEYS[3], ARGV[2], version)
call('HSET', KEYS[2], ARGV[1], version)
call('HSET', KEYS[1], 'seq', version)
return version

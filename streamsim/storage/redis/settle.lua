-- Says what became of an attempt at a delivery.
--
-- KEYS  1 those that wait (zset)  2 their states (hash)  3 those that are settled (zset)
-- ARGV  1 id  2 attempts that it must have  3 state  4 now ms  5 error  6 due ms, "" when it is settled
-- Returns 1 when it is done; 0 when it was taken again, is settled already, or is not there

local call = redis.call
local state = call('HGET', KEYS[2], ARGV[1])
if not state then return 0 end
local attempts, name = string.match(state, '^(%d+) (%a+) ')
if attempts ~= ARGV[2] or name ~= 'waiting' then return 0 end
call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
if ARGV[6] == '' then
  call('ZREM', KEYS[1], ARGV[1])
  call('ZADD', KEYS[3], ARGV[4], ARGV[1])
else
  call('ZADD', KEYS[1], ARGV[6], ARGV[1])
end
return 1

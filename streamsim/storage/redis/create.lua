-- Stores a new experiment.
--
-- KEYS  1 the experiment (hash)  2 live (zset)  3 names (hash)  4 archived (zset)
-- ARGV  1 id  2 name  3 document (JSON)  4 revision  5 modified ms  6 live (1 or 0: archived)  7 token of this call
-- Returns 1 when it is stored, 0 when the id or the name is taken

local call = redis.call
if call('HGET', KEYS[1], 'token') == ARGV[7] then return 1 end
if call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[6] == '1' then
  if call('HSETNX', KEYS[3], ARGV[2], ARGV[1]) == 0 then return 0 end
  call('ZADD', KEYS[2], 0, ARGV[1])
else
  call('ZADD', KEYS[4], 0, ARGV[1])
end
call('HSET', KEYS[1], 'doc', ARGV[3], 'name', ARGV[2], 'revision', ARGV[4], 'modified', ARGV[5], 'live', ARGV[6],
  'token', ARGV[7], 'moved_action', '-1', 'moved_reward', '-1')
return 1

-- Replaces or archives a live experiment.
--
-- KEYS  1 the experiment (hash)  2 live (zset)  3 names (hash)  4 archived (zset)
--       5 revisions (hash)  6 their code (hash)
--       7 and on: those of store_deliveries.lua
-- ARGV  1 id  2 token of this call  3 modified ms
--       4 expected revision  5 name  6 document (JSON)     to replace it
--       4 ""  5 ""  6 ""                                   to archive it
--       7 most revisions that are kept  8 most bytes of their code  9 how many revisions follow
--       then of each revision: number, record (JSON), code (JSON)
--       then those of store_deliveries.lua
-- Returns {1, document, revision, modified, live} when it is done; {0} when it is not live, not there or has
-- another revision; {2} when the name is taken

local call = redis.call
local function answer()
  return {1, unpack(call('HMGET', KEYS[1], 'doc', 'revision', 'modified', 'live'))}
end
local has = call('HMGET', KEYS[1], 'revision', 'live', 'token', 'name')
if has[3] == ARGV[2] then return answer() end
if has[2] ~= '1' then return {0} end
if ARGV[4] == '' then
  call('HSET', KEYS[1], 'live', '0')
  call('ZREM', KEYS[2], ARGV[1])
  call('ZADD', KEYS[4], 0, ARGV[1])
  call('HDEL', KEYS[3], has[4])
else
  if has[1] ~= ARGV[4] then return {0} end
  if has[4] ~= ARGV[5] then
    if call('HSETNX', KEYS[3], ARGV[5], ARGV[1]) == 0 then return {2} end
    call('HDEL', KEYS[3], has[4])
  end
  call('HSET', KEYS[1], 'doc', ARGV[6], 'name', ARGV[5])
end
local after = 10 + 3 * ARGV[9]
for at = 10, after - 1, 3 do
  if call('HSETNX', KEYS[6], ARGV[at], ARGV[at + 2]) == 1 then call('HSET', KEYS[5], ARGV[at], ARGV[at + 1]) end
end
if after > 10 then
  local numbers, bytes = call('HKEYS', KEYS[6]), 0
  table.sort(numbers, function(one, other) return tonumber(one) > tonumber(other) end)
  for place, number in ipairs(numbers) do
    bytes = bytes + call('HSTRLEN', KEYS[6], number)
    if place > 1 and (place > tonumber(ARGV[7]) or bytes > tonumber(ARGV[8])) then
      call('HDEL', KEYS[6], number)
      call('HDEL', KEYS[5], number)
    end
  end
end
store_deliveries(7, after)
call('HINCRBY', KEYS[1], 'revision', 1)
call('HSET', KEYS[1], 'modified', ARGV[3], 'token', ARGV[2])
return answer()

-- Reads a group, or all groups of a set, at one moment.
--
-- KEYS  1 sets (hash)  2 groups (hash)  3... the group hashes
-- ARGV  1 name of the set  2 level: g (one group) or s (the set)  3... the keys of the groups, as in KEYS
-- Returns {version, {rows of each group}}; for a set that has other groups than listed {version, nil, {its keys}}

local call = redis.call
local all = {}
if ARGV[2] == 's' then
  local version = call('HGET', KEYS[1], ARGV[1]) or '0'
  local same = call('HLEN', KEYS[2]) == #KEYS - 2
  for i = 3, #KEYS do same = same and call('HEXISTS', KEYS[2], ARGV[i]) == 1 end
  if not same then return {version, false, call('HKEYS', KEYS[2])} end
  for i = 3, #KEYS do all[i - 2] = call('HGETALL', KEYS[i]) end
  return {version, all}
end
return {call('HGET', KEYS[2], ARGV[3]) or '0', {call('HGETALL', KEYS[3])}}

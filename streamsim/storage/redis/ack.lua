-- Removes outbox entries whose rows are in MongoDB, each once, whoever comes first.
--
-- KEYS  1 outbox (stream)  2 meta (hash)  3... experiments (hashes)
-- ARGV  1 group  then for each entry
--         id, rows, bytes, list of (place in KEYS of an experiment, counter): rows that the log had already,
--         whose count is taken back; list of (place in KEYS of an experiment, field, position): the last row
--         of each log
-- Returns {rows, bytes} that still wait

local call = redis.call
local at = 1
local function take() at = at + 1 return ARGV[at] end

local removed, rows, bytes = 0, 0, 0
while at < #ARGV do
  local id, entry_rows, entry_bytes = take(), tonumber(take()), tonumber(take())
  local repeated = {}
  for i = 1, tonumber(take()) do repeated[i] = {KEYS[tonumber(take())], take()} end
  local moved = {}
  for i = 1, tonumber(take()) do moved[i] = {KEYS[tonumber(take())], take(), take()} end
  call('XACK', KEYS[1], ARGV[1], id)
  if call('XDEL', KEYS[1], id) == 1 then
    removed, rows, bytes = removed + 1, rows + entry_rows, bytes + entry_bytes
    for _, one in ipairs(repeated) do call('HINCRBY', one[1], one[2], -1) end
    for _, one in ipairs(moved) do
      local before = call('HGET', one[1], one[2])
      if not before or tonumber(before) < tonumber(one[3]) then call('HSET', one[1], one[2], one[3]) end
    end
  end
end
if removed > 0 then
  call('HINCRBY', KEYS[2], 'rows', string.format('%.0f', -rows))
  call('HINCRBY', KEYS[2], 'bytes', string.format('%.0f', -bytes))
end
local waiting = call('HMGET', KEYS[2], 'rows', 'bytes')
return {tonumber(waiting[1] or 0), tonumber(waiting[2] or 0)}

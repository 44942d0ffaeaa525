-- One transaction of one tenant: checks every precondition, then applies every effect.
--
-- KEYS  1 meta (hash)  2 outbox (stream)  3 due (zset)  4 closed (zset)  5 idle (zset)  6 done (string)
--       7... the hashes of the experiments involved; `@` below is a place in KEYS
-- ARGV  all text; every list starts with its length
--       now_ms, effects (1: something to apply, 0: only checks)
--       most rows, most bytes that may wait in the outbox
--       rows, bytes, blob: the log rows of this transaction
--       experiments: @x, revision, actions, last action ms, rewards, last reward ms (to count)
--       reads: experiment (place in the list above), level, then
--           level r (row):   @group, value, expected version
--           level g (group): @groups, key, expected version, @group
--           level s (set):   @sets, name, expected version
--       redemptions: experiment, @advices, id, new state (r or t), member of the due zset
--       idempotency: experiment, @records, key, record, expires ms, member of the idle zset
--       deletes: level, @sets, name, @groups, then
--           level r: key, @group, value
--           level g: key, @group
--           level s: list of (key, @group), which must be all groups of the set
--       writes: one per group: @sets, name, @groups, key, @group, list of (value, JSON)
--       advices: @advices, id, record, expires ms, member of the due zset
-- Returns an array, first a number that says what follows
--       1  "<version> <a 0 or 1 for each delete: whether it found rows>"         committed
--       0  places of stale experiments; reads {place, version, rows or nil for a set};
--          advices {place, record or nil}; idempotency {place, record}           nothing applied
--       2  rows waiting, bytes waiting                                           over the high-water mark
--       3  (nothing)                                                             a set has other groups than listed

local call = redis.call
local meta, outbox, due, closed, idle, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

local before = call('GET', done)
if before then return {1, before} end

local at = 0
local function take() at = at + 1 return ARGV[at] end
local function number() at = at + 1 return tonumber(ARGV[at]) end
local function key() at = at + 1 return KEYS[tonumber(ARGV[at])] end
local function text(n) return string.format('%.0f', n) end

local now, effects = number(), take()
local most_rows, most_bytes = number(), number()
local rows, bytes, blob = number(), number(), take()

local waiting = call('HMGET', meta, 'seq', 'rows', 'bytes')
local seq = tonumber(waiting[1] or 0)
local rows_waiting, bytes_waiting = tonumber(waiting[2] or 0), tonumber(waiting[3] or 0)
if rows > 0 and (rows_waiting + rows > most_rows or bytes_waiting + bytes > most_bytes) then
  return {2, rows_waiting, bytes_waiting}
end

-- Checks.
local fine = true
local stale, counters = {}, {}
local old_experiments, old_reads, old_advices, old_records = {}, {}, {}, {}

for place = 1, number() do
  local x, revision = key(), take()
  local actions, last_action, rewards, last_reward = number(), number(), number(), number()
  local has = call('HMGET', x, 'revision', 'live', 'actions', 'last_action', 'rewards', 'last_reward')
  if has[1] ~= revision or has[2] ~= '1' then
    fine, stale[place] = false, true
    old_experiments[#old_experiments + 1] = place
  elseif actions + rewards > 0 then
    local fields = {'HSET', x}
    if actions > 0 then
      fields[3], fields[4] = 'actions', text(tonumber(has[3] or 0) + actions)
      fields[5], fields[6] = 'last_action', text(math.max(tonumber(has[4] or last_action), last_action))
    end
    if rewards > 0 then
      local n = #fields
      fields[n + 1], fields[n + 2] = 'rewards', text(tonumber(has[5] or 0) + rewards)
      fields[n + 3], fields[n + 4] = 'last_reward', text(math.max(tonumber(has[6] or last_reward), last_reward))
    end
    counters[#counters + 1] = fields
  end
end

for place = 1, number() do
  local skip, level = stale[number()], take()
  local hash, field, expected = key(), take(), take()
  if level == 'r' then
    local row = not skip and call('HGET', hash, field)
    local version = row and string.sub(row, 1, string.find(row, ':', 1, true) - 1) or '0'
    if not skip and version ~= expected then
      old_reads[#old_reads + 1] = {place, version, row and {field, row} or {}}
    end
  elseif level == 'g' then
    local rows_hash = key()
    local version = not skip and (call('HGET', hash, field) or '0')
    if not skip and version ~= expected then
      old_reads[#old_reads + 1] = {place, version, call('HGETALL', rows_hash)}
    end
  elseif not skip then
    local version = call('HGET', hash, field) or '0'
    if version ~= expected then old_reads[#old_reads + 1] = {place, version, false} end
  end
end

local redemptions = {}
for place = 1, number() do
  local skip, hash, id, state, member = stale[number()], key(), take(), take(), take()
  if not skip then
    local record = call('HGET', hash, id)
    if record and string.sub(record, 1, 1) == 'o' then
      redemptions[place] = {hash, id, state .. string.sub(record, 2), string.match(record, '^.:(%-?%d+)'), member}
    else
      old_advices[#old_advices + 1] = {place, record}
    end
  end
end

local records = {}
for place = 1, number() do
  local skip, hash, id, record, expires, member = stale[number()], key(), take(), take(), take(), take()
  if not skip then
    local old = call('HGET', hash, id)
    if old and tonumber(string.match(old, '^%-?%d+')) > now then
      old_records[#old_records + 1] = {place, old}
    else
      records[place] = {hash, id, record, expires, member}
    end
  end
end

if not fine or #old_reads > 0 or #old_advices > 0 or #old_records > 0 then
  return {0, old_experiments, old_reads, old_advices, old_records}
end
if effects == '0' then return {1, '0 '} end

-- A set's groups may have changed since the caller listed them, so this comes before any effect.
local deletes = {}
for place = 1, number() do
  local one = {level = take(), sets = key(), name = take(), groups = key(), pairs = {}}
  if one.level == 's' then
    for i = 1, number() do one.pairs[i] = {take(), key()} end
    if call('HLEN', one.groups) ~= #one.pairs then return {3} end
    for _, pair in ipairs(one.pairs) do
      if call('HEXISTS', one.groups, pair[1]) == 0 then return {3} end
    end
  else
    one.pairs[1] = {take(), key()}
    if one.level == 'r' then one.value = take() end
  end
  deletes[place] = one
end

-- Effects. The version follows the clock, so that a server that lost its last commits gives none twice.
local clock = call('TIME')
seq = math.max(seq + 1, (clock[1] * 1000 + math.floor(clock[2] / 1000)) * 16)
local version = text(seq)

local found = {}
for place, one in ipairs(deletes) do
  local hit = 0
  for _, pair in ipairs(one.pairs) do
    local removed
    if one.level == 'r' then
      removed = call('HDEL', pair[2], one.value)
    else
      removed = call('UNLINK', pair[2])
    end
    if removed > 0 then
      hit = 1
      if one.level == 'r' and call('EXISTS', pair[2]) == 1 then
        call('HSET', one.groups, pair[1], version)
      else
        call('HDEL', one.groups, pair[1])
      end
    end
  end
  if hit == 1 then
    if call('EXISTS', one.groups) == 1 then
      call('HSET', one.sets, one.name, version)
    else
      call('HDEL', one.sets, one.name)
    end
  end
  found[place] = hit
end

for _ = 1, number() do
  local sets, name, groups, group_key, group = key(), take(), key(), take(), key()
  local fields, n = {}, 0
  for _ = 1, number() do
    fields[n + 1], fields[n + 2] = take(), version .. ':' .. take()
    n = n + 2
    if n == 4000 then
      call('HSET', group, unpack(fields, 1, n))
      n = 0
    end
  end
  if n > 0 then call('HSET', group, unpack(fields, 1, n)) end
  call('HSET', groups, group_key, version)
  call('HSET', sets, name, version)
end

for _ = 1, number() do
  local hash, id, record, expires, member = key(), take(), take(), take(), take()
  if call('HSETNX', hash, id, record) == 1 then call('ZADD', due, expires, member) end
end
for _, one in ipairs(redemptions) do
  call('HSET', one[1], one[2], one[3])
  call('ZREM', due, one[5])
  call('ZADD', closed, one[4], one[5])
end
for _, one in ipairs(records) do
  call('HSET', one[1], one[2], one[3])
  call('ZADD', idle, one[4], one[5])
end

for _, fields in ipairs(counters) do call(unpack(fields)) end
if rows > 0 then
  call('XADD', outbox, version .. '-0', 'rows', blob)
  call('HSET', meta, 'seq', version, 'rows', text(rows_waiting + rows), 'bytes', text(bytes_waiting + bytes))
else
  call('HSET', meta, 'seq', version)
end
local outcome = version .. ' ' .. table.concat(found)
call('SET', done, outcome, 'PX', 60000)
return {1, outcome}

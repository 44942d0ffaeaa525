-- One transaction of one tenant: checks every precondition, then applies every effect.
--
-- KEYS  1 meta (hash)  2 outbox (stream)  3 due (zset)  4 closed (zset)  5 idle (zset)
--       6... the hashes of the experiments involved; `@` below is a place in KEYS
-- ARGV  numbers that belong together are one argument, in decimal with spaces between, shown here in []
--       [now_ms, effects (1: something to apply, 0: only checks), most rows, most bytes that may wait in the
--           outbox, rows, bytes of this transaction's log, and how many experiments, reads, redemptions,
--           amendments, idempotency records, deletes, groups to write, drops, advices, and hashes of buckets
--           follow, w:<writer>, serial (see writers.py)]
--       the log rows
--       experiments: [@x, revision, actions, last action ms, rewards, last reward ms (to count),
--           how many actions there may be before, -1 for any number]
--       reads: [experiment (place in the list above), level, ...] with the level
--           r (row):   [.., @group, expected version], value
--           g (group): [.., @groups, expected version, @group], key
--           s (set):   [.., @sets, expected version], name
--       redemptions: [experiment, @advices, new state (r or t), 1 or 0], id, member of the due zset,
--           and with 1: what the advice must have gathered
--       amendments: [experiment, @advices], id, what the advice must have gathered, what it has then
--       idempotency: [experiment, @records, expires ms], key, record, member of the idle zset
--       deletes: [level, @sets, @groups, @group...], name of the set, then
--           level r: key, value
--           level g: key
--           level s: the key of each @group, which must be all groups of the set
--       writes: one per group: [@sets, @groups, @group, how many rows], name, key, then value and JSON of each
--       drops: [@advices]
--       advices: [@advices, expires ms], id, record, member of the due zset
--       buckets: one per hash: [@buckets, expires ms, how many rows], of each its field, which is in no other
--           row of the hash, and the numbers to add, or the first one alone
-- Returns an array, first a number that says what follows
--       1  "<version> <a 0 or 1 for each delete: whether it found rows>"         committed
--       0  places of stale experiments; reads {place, version, rows or nil for a set};
--          advices {place, record or nil}; idempotency {place, record};
--          places of experiments with more actions than there may be             nothing applied
--       2  rows waiting, bytes waiting                                           over the high-water mark
--       3  (nothing)                                                             a set has other groups than listed
--       4  (nothing)                                                             the writer's next commit came first

local call = redis.call
local meta, outbox, due, closed, idle = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local at = 0
local function take() at = at + 1 return ARGV[at] end
local function numbers()
  local list = {}
  for word in string.gmatch(take(), '%S+') do list[#list + 1] = word end
  return list
end
local function key(place) return KEYS[tonumber(place)] end
local function text(n) return string.format('%.0f', n) end

local head = numbers()
local now, effects = tonumber(head[1]), head[2]
local most_rows, most_bytes = tonumber(head[3]), tonumber(head[4])
local rows, bytes, blob = tonumber(head[5]), tonumber(head[6]), take()

local writer, serial = head[17], head[18]

local waiting = call('HMGET', meta, 'seq', 'rows', 'bytes', writer)
local known = waiting[4]
if known then
  local place = string.find(known, ' ', 1, true)
  local last = string.sub(known, 1, place - 1)
  if last == serial then return {1, string.sub(known, place + 1)} end
  if tonumber(last) > tonumber(serial) then return {4} end
end
local seq = tonumber(waiting[1] or 0)
local rows_waiting, bytes_waiting = tonumber(waiting[2] or 0), tonumber(waiting[3] or 0)
if rows > 0 and (rows_waiting + rows > most_rows or bytes_waiting + bytes > most_bytes) then
  return {2, rows_waiting, bytes_waiting}
end

-- Checks.
local fine = true
local stale, counters = {}, {}
local old_experiments, old_reads, old_advices, old_records, full = {}, {}, {}, {}, {}

for place = 1, head[7] do
  local n = numbers()
  local x, actions, rewards = key(n[1]), tonumber(n[3]), tonumber(n[5])
  local has = call('HMGET', x, 'revision', 'live', 'actions', 'last_action', 'rewards', 'last_reward', 'buckets')
  if has[1] ~= n[2] or has[2] ~= '1' then
    fine, stale[place] = false, true
    old_experiments[#old_experiments + 1] = place
  elseif tonumber(n[7]) >= 0 and tonumber(has[3] or 0) > tonumber(n[7]) then
    full[#full + 1] = place
  elseif actions + rewards > 0 then
    local fields = {'HSET', x}
    if actions > 0 then
      fields[3], fields[4] = 'actions', text(tonumber(has[3] or 0) + actions)
      fields[5], fields[6] = 'last_action', text(math.max(has[4] or n[4], n[4]))
    end
    if rewards > 0 then
      local last = #fields
      fields[last + 1], fields[last + 2] = 'rewards', text(tonumber(has[5] or 0) + rewards)
      fields[last + 3], fields[last + 4] = 'last_reward', text(math.max(has[6] or n[6], n[6]))
    end
    if not has[7] then
      local last = #fields
      local before = tonumber(has[3] or 0) + tonumber(has[5] or 0)
      fields[last + 1], fields[last + 2] = 'buckets', before > 0 and (actions > 0 and n[4] or n[6]) or '0'
    end
    counters[#counters + 1] = fields
  end
end

for place = 1, head[8] do
  local n, field = numbers(), take()
  if not stale[tonumber(n[1])] then
    local level, hash, expected = n[2], key(n[3]), n[4]
    local found = call('HGET', hash, field)
    if level == 'r' then
      local version = found and string.sub(found, 1, string.find(found, ':', 1, true) - 1) or '0'
      if version ~= expected then
        old_reads[#old_reads + 1] = {place, version, found and {field, found} or {}}
      end
    elseif (found or '0') ~= expected then
      old_reads[#old_reads + 1] = {place, found or '0', level == 'g' and call('HGETALL', key(n[5]))}
    end
  end
end

local function opened(record)
  local _, _, expires, context, more, from = string.find(record, '^.:(%-?%d+):(%d+),?(%d*):()')
  local last = #record - (tonumber(more) or 0)
  return 'o:' .. expires .. ':' .. context, string.sub(record, from, last), string.sub(record, last + 1)
end

local redemptions = {}
for place = 1, head[9] do
  local n, id, member = numbers(), take(), take()
  local expected = n[4] == '1' and take() or nil
  if not stale[tonumber(n[1])] then
    local hash = key(n[2])
    local record = call('HGET', hash, id)
    local open = record and string.sub(record, 1, 1) == 'o'
    if open and expected then
      local _, _, gathered = opened(record)
      open = gathered == expected
    end
    if open then
      redemptions[place] = {hash, id, n[3] .. string.sub(record, 2), string.match(record, '^.:(%-?%d+)'), member}
    else
      old_advices[#old_advices + 1] = {place, record}
    end
  end
end

local amendments = {}
for place = 1, head[10] do
  local n, id, expected, wanted = numbers(), take(), take(), take()
  if not stale[tonumber(n[1])] then
    local hash = key(n[2])
    local record = call('HGET', hash, id)
    local fresh
    if record and string.sub(record, 1, 1) == 'o' then
      local start, body, gathered = opened(record)
      if gathered == expected then
        fresh = start .. (wanted == '' and '' or ',' .. #wanted) .. ':' .. body .. wanted
      end
    end
    if fresh then
      amendments[#amendments + 1] = {hash, id, fresh}
    else
      old_advices[#old_advices + 1] = {head[9] + place, record}
    end
  end
end

local records = {}
for place = 1, head[11] do
  local n, id, record, member = numbers(), take(), take(), take()
  if not stale[tonumber(n[1])] then
    local hash = key(n[2])
    local old = call('HGET', hash, id)
    if old and tonumber(string.match(old, '^%-?%d+')) > now then
      old_records[#old_records + 1] = {place, old}
    else
      records[place] = {hash, id, record, n[3], member}
    end
  end
end

if not fine or #old_reads > 0 or #old_advices > 0 or #old_records > 0 or #full > 0 then
  return {0, old_experiments, old_reads, old_advices, old_records, full}
end
if effects == '0' then return {1, '0 '} end

-- A set's groups may have changed since the caller listed them, so this comes before any effect.
local deletes = {}
for place = 1, head[12] do
  local n = numbers()
  local one = {level = n[1], sets = key(n[2]), groups = key(n[3]), name = take(), pairs = {}}
  for i = 4, #n do one.pairs[i - 3] = {take(), key(n[i])} end
  if one.level == 'r' then one.value = take() end
  if one.level == 's' then
    if call('HLEN', one.groups) ~= #one.pairs then return {3} end
    for _, pair in ipairs(one.pairs) do
      if call('HEXISTS', one.groups, pair[1]) == 0 then return {3} end
    end
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

for _ = 1, head[13] do
  local n, name, group_key = numbers(), take(), take()
  local group = key(n[3])
  local fields, last = {}, 0
  for _ = 1, n[4] do
    fields[last + 1], fields[last + 2] = take(), version .. ':' .. take()
    last = last + 2
    if last == 4000 then
      call('HSET', group, unpack(fields, 1, last))
      last = 0
    end
  end
  if last > 0 then call('HSET', group, unpack(fields, 1, last)) end
  call('HSET', key(n[2]), group_key, version)
  call('HSET', key(n[1]), name, version)
end

-- What these leave in the due zset is taken off it when its time is up.
for _ = 1, head[14] do call('UNLINK', key(take())) end
for _ = 1, head[15] do
  local n, id, record, member = numbers(), take(), take(), take()
  if call('HSETNX', key(n[1]), id, record) == 1 then call('ZADD', due, n[2], member) end
end
local function sum(had, more)
  if not string.find(more, ' ', 1, true) then
    local first, rest = string.match(had or '0 0 0 0 0 0', '^(%S+)(.*)$')
    return text(first + more) .. rest
  end
  if not had then return more end
  local sums, add = {}, string.gmatch(more, '%S+')
  for word in string.gmatch(had, '%S+') do
    sums[#sums + 1] = string.format('%.17g', word + add())
  end
  return table.concat(sums, ' ')
end
for _ = 1, head[16] do
  local n = numbers()
  local hash, left = key(n[1]), tonumber(n[3])
  while left > 0 do
    local some, new = math.min(left, 1000), false
    local asked, fields = {'HMGET', hash}, {'HSET', hash}
    for row = 1, some do
      asked[row + 2] = take()
      fields[2 * row + 1], fields[2 * row + 2] = asked[row + 2], take()
    end
    for row, had in ipairs(call(unpack(asked))) do
      new = new or not had
      fields[2 * row + 2] = sum(had, fields[2 * row + 2])
    end
    call(unpack(fields))
    -- The time is the same for all of a hash.
    if new then call('PEXPIREAT', hash, n[2]) end
    left = left - some
  end
end
for _, one in ipairs(redemptions) do
  call('HSET', one[1], one[2], one[3])
  call('ZREM', due, one[5])
  call('ZADD', closed, one[4], one[5])
end
for _, one in ipairs(amendments) do call('HSET', one[1], one[2], one[3]) end
for _, one in ipairs(records) do
  call('HSET', one[1], one[2], one[3])
  call('ZADD', idle, one[4], one[5])
end

for _, fields in ipairs(counters) do call(unpack(fields)) end

-- Who has been silent for an hour is gone: a commit that arrives this late is none of ours.
local function sweep()
  local hour = 3600 * 1000 * 16
  local swept = call('HGET', meta, 'swept')
  if swept and seq - swept < hour then return end
  local fields = call('HGETALL', meta)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'w:' and seq - string.match(fields[i + 1], ' (%d+)') > hour then
      call('HDEL', meta, fields[i])
    end
  end
  call('HSET', meta, 'swept', version)
end
if not known then sweep() end

local outcome = version .. ' ' .. table.concat(found)
local noted = serial .. ' ' .. outcome
if rows > 0 then
  call('XADD', outbox, version .. '-0', 'rows', blob)
  call('HSET', meta, 'seq', version, writer, noted,
    'rows', text(rows_waiting + rows), 'bytes', text(bytes_waiting + bytes))
else
  call('HSET', meta, 'seq', version, writer, noted)
end
return {1, outcome}

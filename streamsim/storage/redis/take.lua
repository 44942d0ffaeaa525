-- Takes deliveries that are due: each has one more attempt, and comes due again at a later date.
--
-- KEYS  1 those that wait (zset)  2 deliveries (hash)  3 their states (hash)
-- ARGV  1 now ms  2 until ms  3 how many at most
-- Returns {id, record, state} of each

local call, taken = redis.call, {}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local record, state = call('HGET', KEYS[2], id), call('HGET', KEYS[3], id)
  if record and state then
    local attempts, rest = string.match(state, '^(%d+)( .*)$')
    state = string.format('%d', tonumber(attempts) + 1) .. rest
    call('HSET', KEYS[3], id, state)
    call('ZADD', KEYS[1], ARGV[2], id)
    taken[#taken + 1] = {id, record, state}
  else
    call('ZREM', KEYS[1], id)
  end
end
return taken

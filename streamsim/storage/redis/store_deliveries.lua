-- What enqueue.lua and update.lua begin with: stores deliveries to webhooks that are not there yet.
--
-- KEYS  from first_key on: deliveries (hash), their states (hash), those that wait (zset), those of the
--       experiment (zset)
-- ARGV  from first_arg on, of each: id, record (JSON), due ms, created ms
-- Returns how many were stored

local function store_deliveries(first_key, first_arg)
  local call, added = redis.call, 0
  local messages, states, unsent, own = unpack(KEYS, first_key, first_key + 3)
  for at = first_arg, #ARGV, 4 do
    if call('HSETNX', messages, ARGV[at], ARGV[at + 1]) == 1 then
      call('HSET', states, ARGV[at], '0 waiting 0 ')
      call('ZADD', unsent, ARGV[at + 2], ARGV[at])
      call('ZADD', own, ARGV[at + 3], ARGV[at])
      added = added + 1
    end
  end
  return added
end

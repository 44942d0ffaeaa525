-- Counts an event in a fixed window that starts with its first event.
--
-- KEYS  1 the window (string "<end>:<events>")
-- ARGV  1 now ms  2 length ms  3 ms to keep a new window
-- Returns {events so far, ms until the window ends}

local now = tonumber(ARGV[1])
local window = redis.call('GET', KEYS[1])
if window then
  local till, events = string.match(window, '^(%-?%d+):(%d+)$')
  if tonumber(till) > now then
    redis.call('SET', KEYS[1], till .. ':' .. string.format('%.0f', events + 1), 'KEEPTTL')
    return {events + 1, till - now}
  end
end
redis.call('SET', KEYS[1], string.format('%.0f', now + ARGV[2]) .. ':1', 'PX', ARGV[3])
return {1, tonumber(ARGV[2])}

-- Claims a piece of work.
--
-- KEYS  1 the claim (string "<until>:<owner>")
-- ARGV  1 owner  2 now ms  3 until ms  4 ms to keep it
-- Returns 1 when it is the owner's, 0 while another's claim lasts

local held = redis.call('GET', KEYS[1])
if held then
  local till, owner = string.match(held, '^(%-?%d+):(.*)$')
  if owner ~= ARGV[1] and tonumber(till) > tonumber(ARGV[2]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[3] .. ':' .. ARGV[1], 'PX', ARGV[4])
return 1

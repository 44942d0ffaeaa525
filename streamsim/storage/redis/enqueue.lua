-- Stores deliveries to webhooks that are not there yet.
--
-- KEYS  those of store_deliveries.lua
-- ARGV  those of store_deliveries.lua
-- Returns how many were stored

return store_deliveries(1, 1)

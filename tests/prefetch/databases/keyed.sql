-- 12 MB: a tree of four interior levels, whose keys come in no order.
BEGIN;
CREATE TABLE kv(k TEXT PRIMARY KEY, kind INTEGER, v TEXT) WITHOUT ROWID;
CREATE INDEX kv_kind ON kv(kind);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
INSERT INTO kv
SELECT printf('%08x%016x', i * 2654435761 % 4294967296, i), i % 300,
       printf('%.*c', 130 + i % 60, 'v')
FROM n;
COMMIT;

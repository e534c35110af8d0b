-- 20 MB, most of it overflow pages; those of `torn` are not contiguous.
BEGIN;
CREATE TABLE docs(id INTEGER PRIMARY KEY, kind INTEGER, body TEXT);
CREATE INDEX docs_kind ON docs(kind);
CREATE TABLE torn(id INTEGER PRIMARY KEY, kind INTEGER, body TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
INSERT INTO docs
SELECT i, i * 31 % 50,
       printf('%.*c', 3000 + i * 2654435761 % 4294967296 % 17000, 'd')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1400)
INSERT INTO torn
SELECT i * 617 % 1409, i % 50,
       printf('%.*c', 3000 + i * 2654435761 % 4294967296 % 9000, 't')
FROM n;
DELETE FROM torn WHERE id % 3 = 1;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO torn
SELECT 2000 + i * 211 % 503, i % 50,
       printf('%.*c', 3000 + i * 2654435761 % 4294967296 % 16000, 'u')
FROM n;
COMMIT;

-- 9 MB of full text.
BEGIN;
CREATE VIRTUAL TABLE search USING fts5(title, body);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16000)
INSERT INTO search
SELECT printf('w%d w%d', i % 97, i % 1009),
       printf('w%d w%d w%d w%d w%d w%d %.*c',
              i * 2654435761 % 4294967296 % 31, i * 7 % 211, i * 13 % 509,
              i * 17 % 1999, i * 31 % 4001, i % 6007, 200 + i % 80, 'x')
FROM n;
COMMIT;

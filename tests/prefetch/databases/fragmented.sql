-- As people.sql, inserted in no order: neighbours in a tree are none in the file.
BEGIN;
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, city TEXT, bio TEXT,
                    created INTEGER);
CREATE INDEX people_name ON people(name);
CREATE INDEX people_city ON people(city, created);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80000)
INSERT INTO people
SELECT i, printf('%08x', i * 2654435761 % 4294967296),
       printf('city%02d', i * 7919 % 20), printf('%.*c', 60 + i * 31 % 100, 'b'),
       i * 2654435761 % 4294967296 % 1000000
FROM n ORDER BY i * 40503 % 80021;
COMMIT;

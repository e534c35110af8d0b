-- The questions and changes of ./dev demo (scripts/demo.py), with names that
-- databases/packages.sql has.
-- page: point query: one package by its name
SELECT name, version, section, installed_size FROM packages WHERE name = 'pkg-b33e76f2';
-- page: join: what it depends on
SELECT d.kind, d.target, d.relation, d.version FROM packages p JOIN dependencies d ON d.package_id = p.id WHERE p.name = 'pkg-b33e76f2' ORDER BY d.id;
-- page: range query: 1,000 rows in an index's order
SELECT name, installed_size FROM packages WHERE section = 'libs' ORDER BY installed_size DESC, id LIMIT 1000;
-- page: full-text query: 'replication database'
SELECT name, summary FROM search WHERE search MATCH 'replication word11' ORDER BY rank, name LIMIT 20;
-- page: aggregate over the whole table of packages
SELECT section, count(*), sum(installed_size) FROM packages GROUP BY section ORDER BY 2 DESC, 1;
-- page: commit 1
UPDATE packages SET version = version || '+demo1' WHERE section = 'section11';
-- page: commit 2
INSERT INTO packages VALUES(1000001,'ramet-demo','1.0','all','database','optional','A. Demo <demo@example.com>','ramet-demo',NULL,NULL,NULL,4096,12);
INSERT INTO descriptions VALUES(1000001,'page-level replication','A package that exists only in this replicated database.');
INSERT INTO search(rowid,name,summary,body) VALUES(1000001,'ramet-demo','page-level replication','A package that exists only in this replicated database.');
INSERT INTO events(package_id, what) VALUES(1000001,'published');
-- page: commit 3
DELETE FROM files WHERE package_id IN (SELECT id FROM packages WHERE name = 'pkg-36605a39');

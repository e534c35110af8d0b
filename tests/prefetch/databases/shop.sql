-- 12 MB: three tables that are joined.
BEGIN;
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT, city TEXT, notes TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, created INTEGER,
                    note TEXT);
CREATE TABLE items(id INTEGER PRIMARY KEY, order_id INTEGER, sku TEXT,
                   price INTEGER);
CREATE INDEX orders_customer ON orders(customer);
CREATE INDEX orders_created ON orders(created);
CREATE INDEX items_order ON items(order_id);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
INSERT INTO customers
SELECT i, printf('name %d', i), printf('city%02d', i % 28),
       printf('%.*c', 120, 'n')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO orders
SELECT i, i * 2654435761 % 4294967296 % 10000 + 1, i * 500,
       printf('%.*c', 70, 'o')
FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO items
SELECT i, max(1, i * 2 / 5 - i * 2654435761 % 4294967296 % 200),
       printf('sku-%08d', i * 2654435761 % 4294967296), i % 9999
FROM n;
COMMIT;

create extension if not exists hstore;
create extension if not exists citext;
create extension if not exists ltree;
create type mood as enum ('sad', 'ok', 'happy');
create domain posint as integer check (value > 0);
create table types (
  id bigint primary key, b boolean, i2 smallint not null default 7, i4 int default 42, i8 bigint, f4 real, f8 double precision,
  n102 numeric(10,2) default 1.50, n numeric, m money, c5 char(5), vc varchar(20) default 'abc', t text not null default 'it''s',
  ch "char", ct citext, by bytea, js json, jb jsonb, x xml, u uuid, md mood default 'ok', o oid, b1 bit(1), b5 bit(5), vb varbit(12),
  t0 time(0), t3 time(3), t6 time, ttz timetz, ts timestamp, ts0 timestamp(0), ts3 timestamp(3), tz timestamptz, tz3 timestamptz(3),
  tz0 timestamptz(0), d date, iv interval, inet inet, cidr cidr, mac macaddr, mac8 macaddr8, r4 int4range, r8 int8range, nr numrange,
  tsr tsrange, tzr tstzrange, dr daterange, hs hstore, lt ltree, pt point, bx box, ls lseg, pa path, po polygon, ci circle, li line,
  tv tsvector, pi posint, ai int[], at text[], an numeric(8,2)[], ad date[], ats timestamp[], atz timestamptz[], au uuid[], ab boolean[],
  aj jsonb[], aby bytea[], af8 float8[], amd mood[], avc varchar(3)[], a2 smallint[], a8 bigint[], aci inet[],
  dnow timestamptz default now(), dser bigserial, duuid uuid default gen_random_uuid(), dd date default '2020-02-03',
  dts timestamp default '2020-02-03 04:05:06', dbool boolean not null default true, df8 float8 default 2.5, dn numeric default 3.14,
  dc char(5) default 'ab'
);
create table nokey (a int, b text);
create table composite (a int, b text, v text, primary key (b, a));
alter table composite replica identity full;
create table toasted (id int primary key, big text, small int);
create table finish (id int primary key);
create function fill(shift bigint) returns void language sql as $$
  insert into types (id, b, i2, i4, i8, f4, f8, n102, n, m, c5, vc, t, ch, ct, by, js, jb, x, u, md, o, b1, b5, vb, t0, t3, t6, ttz, ts, ts0,
    ts3, tz, tz3, tz0, d, iv, inet, cidr, mac, mac8, r4, r8, nr, tsr, tzr, dr, hs, lt, pt, bx, ls, pa, po, ci, li, tv, pi, ai, at, an, ad,
    ats, atz, au, ab, aj, aby, af8, amd, avc, a2, a8, aci)
  values (shift + 1, true, 1, 2, 3, 1.5, 2.25, 12.30, 123.4500, 12.34, 'ab', 'vc', 'täxt', 'c', 'CiT', '\xdeadbeef', '{"a": 1}', '{"b": 2}',
    '<a/>', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'happy', 12345, b'1', b'10101', b'1010', '01:02:03', '01:02:03.456', '01:02:03.456789',
    '01:02:03.456789+02', '2024-02-29 01:02:03.456789', '2024-02-29 01:02:03', '2024-02-29 01:02:03.456', '2024-02-29 01:02:03.456789+02',
    '2024-02-29 01:02:03.456+02', '2024-02-29 01:02:03+02', '2024-02-29', '1 year 2 mons 3 days 04:05:06.78', '10.0.0.1/8', '10.0.0.0/8',
    '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '[1,5)', '[1,5)', '[1.5,2.5]', '[2024-01-01,2024-02-01)', '[2024-01-01,2024-02-01)',
    '[2024-01-01,2024-02-01)', 'a=>1,b=>NULL', 'a.b.c', '(1,2)', '((1,2),(3,4))', '[(1,2),(3,4)]', '((1,2),(3,4))', '((1,2),(3,4),(5,6))',
    '<(1,2),3>', '{1,2,3}', 'a b', 5, '{1,NULL,3}', '{a,"b c",NULL,"q\"x"}', '{1.50,2}', '{2024-02-29}', '{"2024-02-29 01:02:03.456789"}',
    '{"2024-02-29 01:02:03.456789+02"}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{t,f}', '{"{\"a\": 1}"}', '{"\\xdead"}', '{1.5,NaN}',
    '{sad,ok}', '{abc}', '{1,2}', '{3,4}', '{10.0.0.1}');
  insert into types (id) values (shift + 2);
  insert into types (id, f4, f8, n, ts, tz, ts3, iv) values
    (shift + 3, 'NaN', 'Infinity', '-0.00100', 'infinity', 'infinity', '-infinity', '-1 days -02:03:04'),
    (shift + 4, '-Infinity', '1e300', 'NaN', '-infinity', '-infinity', 'infinity', '00:00:00.000001'),
    (shift + 5, 1e10, 1e-7, '12345678901234567890.123', '0001-01-01 00:00:00', '0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999', '10 days');
  insert into types (id, n, t6, ts, ttz, tz) values (shift + 6, '12', '24:00:00', '2000-01-01 00:00:00', '24:00:00+00', '1883-11-18 12:00:00+00');
$$;
select fill(0);
insert into nokey values (1, 'x');
insert into composite values (1, 'k', 'v');

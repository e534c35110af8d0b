# Sourced by SQLite's tester.tcl before anything else in it.
#
# SUITE_PRESQL: SQL that is run on each new connection, as the -presql of
# SQLite's own permutations.test. SUITE_PERMUTATION: the permutation's name,
# by which some tests skip what can't work in it.
if {[info exists ::env(SUITE_PRESQL)] && $::env(SUITE_PRESQL) ne ""} {
  set ::G(perm:presql) $::env(SUITE_PRESQL)
}
if {[info exists ::env(SUITE_PERMUTATION)] && $::env(SUITE_PERMUTATION) ne ""} {
  set ::G(perm:name) $::env(SUITE_PERMUTATION)
  set ::G(perm:prefix) ""
}

# Sourced by SQLite's tester.tcl after everything else in it.
#
# SQLite's tests start over by deleting "test.db" with Tcl's [file delete], and
# look at databases with [file exists], [file size], [file copy] and [glob]. A
# replica is more than one file, so for a database these go through the VFS
# under test; every other name and subcommand is Tcl's own affair.
if {[info exists ::env(SUITE_EXTENSION)] && $::env(SUITE_EXTENSION) ne ""
 && [info commands suite_delete] ne "" && [info commands suite_file] eq ""
} {
  rename file suite_file

  proc suite_is_database {name} {
    if {$name eq "" || [regexp {(-journal|-wal|-shm|-mj[0-9A-F]*)$} $name]} {
      return 0
    }
    suite_exists $name
  }
  # A journal that only the VFS can see.
  proc suite_is_journal {name} {
    expr {[string match *-journal $name] && ![suite_file exists $name]
          && [suite_exists $name]}
  }
  proc suite_may_copy {from to} {
    expr {([suite_is_database $from] || [suite_is_journal $from])
          && ![suite_file isdirectory $to]}
  }

  proc file {args} {
    set verb [lindex $args 0]
    set count [llength $args]
    if {[string match del* $verb]} {
      foreach name [lrange $args 1 end] {
        if {$name in {-force -- ""}} continue
        if {[suite_exists $name]} { suite_delete $name }
      }
    } elseif {$count==2 && $verb eq "exists"} {
      if {[suite_is_database [lindex $args 1]]} { return 1 }
    } elseif {$count==2 && $verb eq "size"} {
      set name [lindex $args 1]
      if {[suite_is_database $name] && ![catch {suite_size $name} size]} {
        return $size
      }
    } elseif {$verb eq "copy"
           && ($count==3 || ($count==4 && [lindex $args 1] eq "-force"))} {
      lassign [lrange $args end-1 end] from to
      if {[suite_may_copy $from $to]} {
        if {$count==3 && [file exists $to]} {
          error "error copying \"$from\" to \"$to\": file already exists"
        }
        suite_delete $to
        set ::suite_names($to) 1
        if {![catch {suite_copy $from $to}]} return
      }
    }
    uplevel 1 [list suite_file {*}$args]
  }

  # A VFS can't list its databases: names seen so far, and the usual ones, that
  # match and that the VFS says exist are added to what Tcl's [glob] finds.
  foreach name {test.db test.db2 test.db3 test1.db test2.db test3.db test4.db} {
    set ::suite_names($name) 1
    set ::suite_names(sv_$name) 1
  }
  rename glob suite_glob
  proc glob {args} {
    set patterns [list]
    set strict 1
    for {set i 0} {$i<[llength $args]} {incr i} {
      set arg [lindex $args $i]
      if {$arg eq "-nocomplain"} {
        set strict 0
      } elseif {$arg eq "--"} {
        set patterns [lrange $args $i+1 end]
        break
      } elseif {[string match -* $arg]} {
        return [uplevel 1 [list suite_glob {*}$args]]
      } else {
        set patterns [lrange $args $i end]
        break
      }
    }
    set found [uplevel 1 [list suite_glob -nocomplain -- {*}$patterns]]
    foreach pattern $patterns {
      foreach name [lsort [array names ::suite_names]] {
        if {[string match $pattern $name] && $name ni $found
         && [suite_is_database $name]} {
          lappend found $name
        }
        set journal $name-journal
        if {[string match $pattern $journal] && $journal ni $found
         && [suite_is_journal $journal]} {
          lappend found $journal
        }
      }
    }
    if {$strict && [llength $found]==0} {
      return [uplevel 1 [list suite_glob {*}$args]]
    }
    return $found
  }

  rename sqlite3 suite_sqlite3
  proc sqlite3 {args} {
    set name [lindex $args 1]
    if {$name ne "" && [string length $name]<60 && ![string match *:* $name]} {
      set ::suite_names($name) 1
    }
    uplevel 1 [list suite_sqlite3 {*}$args]
  }
}

package suite

type row struct{ name, steps string }

// rows are the behaviour. "a", "b" are revisions; "-" is none.
var rows = []row{
	{"nothing is there at first", `
		look              => no table
		arm a             =! not loaded
		confirm a         =! not loaded
		rollback a        =! not loaded
		back desks        =! any
		rollback -        => no table
	`},
	{"a trial is confirmed and holds", `
		load a            => -
		arm a brief       => -, a on trial
		confirm a         => a
		wait              => a
	`},
	{"a trial lapses by itself", `
		load a            => -
		arm a brief       => -, a on trial
		lapse             => -
	`},
	{"a trial lapses to what was stable", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		confirm a         => a
		arm b over a brief => a, b on trial
		lapse             => a
		arm b over a      => a, b on trial
		confirm b         => b
	`},
	{"confirming too late changes nothing", `
		load a            => -
		confirm a         =! lapsed
		arm a brief       => -, a on trial
		lapse             => -
		confirm a         =! lapsed
		confirm a         =! lapsed
		arm a             => -, a on trial
		confirm a         => a
		confirm a         =! lapsed
	`},
	{"only what is on trial is confirmed", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		confirm b         =! changed
		confirm a         => a
	`},
	{"one trial at a time", `
		load a            => -
		load b            => -
		arm a brief       => -, a on trial
		arm b             =! pending
		arm a             =! pending
		lapse             => -
		arm b             => -, b on trial
	`},
	{"a trial goes over what it was frozen upon", `
		load a            => -
		load b            => -
		arm a over b      =! changed
		arm a             => -, a on trial
		confirm a         => a
		arm b             =! changed
		arm b over b      =! changed
		arm b over a      => a, b on trial
	`},
	{"what is not loaded is not armed", `
		load a            => -
		arm b             =! not loaded
		rollback b        =! not loaded
		send b            =! not loaded
		arm a             => -, a on trial
		rollback b        =! not loaded
		confirm a         => a
		rollback b        =! not loaded
	`},
	{"rolling back wins over a trial", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		rollback -        => -
		confirm a         =! lapsed
		arm a             => -, a on trial
		confirm a         => a
		arm b over a      => a, b on trial
		rollback a        => a
		confirm b         =! lapsed
		arm b over a      => a, b on trial
		rollback b        => b
		arm a over b      => b, a on trial
		rollback -        => -
	`},
	{"rolling back fits every state, twice", `
		load a            => -
		rollback a        => a
		rollback a        => a
		send a            => a
		rollback -        => -
		send -            => -
		load b            => -
		arm b brief       => -, b on trial
		lapse             => -
		rollback b        => b
		foreign           => b
		rollback a        => a
	`},
	{"the backout by hand is a hold", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		hold -            => -
		hold -            => -
		rollback a        => a
		arm b over a      => a, b on trial
		hold a            => a
		confirm b         =! lapsed
		hold b            => b
	`},
	{"the backout's bytes are sent later", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		confirm a         => a
		arm b over a      => a, b on trial
		send a            => a
		arm b over a      => a, b on trial
		confirm b         => b
		foreign           => b
		send a            => a
		send -            => -
	`},
	{"loading again changes nothing", `
		load a            => -
		load a            => -
		arm a             => -, a on trial
		load a            => -, a on trial
		load b            => -, a on trial
		confirm a         => a
		load a            => a
		load b            => a
	`},
	{"a group goes back alone", `
		load a            => -
		back desks        => - back desks
		unback desks      => -
		arm a             => -, a on trial
		confirm a         => a
		back desks        => a back desks
		back desks        => a back desks
		unback desks      => a
		unback desks      => a
		back nobody       =! any
	`},
	{"a group stays back through switches", `
		load a            => -
		load b            => -
		back desks        => - back desks
		arm a             => -, a on trial back desks
		confirm a         => a back desks
		arm b over a brief => a, b on trial back desks
		lapse             => a back desks
		arm b over a      => a, b on trial back desks
		confirm b drop    => b
	`},
	{"a narrower target comes back in alert", `
		load a            => -
		load b            => -
		arm a             => -, a on trial
		confirm a         => a
		arm b over a      => a, b on trial
		rollback a alert  => a back desks
		unback desks      => a
		send b alert      => b back desks
		hold a alert      => a back desks
	`},
	{"connections are spared as long as said", `
		load a            => -
		arm a brief spare => -, a on trial spared desks
		lapse             => -
		arm a spare       => -, a on trial spared desks
		confirm a spare   => a spared desks
		confirm a         =! lapsed
		rollback -        => - spared desks
	`},
	{"confirming ends the sparing where it says so", `
		load a            => -
		arm a spare       => -, a on trial spared desks
		confirm a nospare => a
	`},
	{"somebody else's commits do not matter", `
		foreign           => no table
		load a            => -
		foreign           => -
		arm a             => -, a on trial
		foreign           => -, a on trial
		confirm a         => a
		foreign           => a
		back desks        => a back desks
	`},
}

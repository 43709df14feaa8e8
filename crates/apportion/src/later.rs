//! Commands of later releases: listed in help, accepted, refused with `not_available`.

use clap::{Arg, ArgAction, Command};

/// Path and purpose of each command that a later release brings.
const LATER: [(&str, &str); 2] = [
    ("scheduler", "Run a node that plans distributed queries"),
    ("executor", "Run a node that executes distributed queries"),
];

/// Returns the command line with the later commands added.
pub fn add_to(mut command: Command) -> Command {
    for (path, about) in LATER {
        let later = |name: &'static str| {
            let rest = Arg::new("rest").action(ArgAction::Append).num_args(0..).trailing_var_arg(true).hide(true);
            Command::new(name)
                .about(format!("{about} (not available yet)"))
                .disable_help_flag(true)
                .arg(rest.allow_hyphen_values(true))
        };
        command = match path.split_once(' ') {
            None => command.subcommand(later(path)),
            Some((group, name)) => command
                .mut_subcommand(group, |group| group.subcommand(later(name)).args_conflicts_with_subcommands(true)),
        };
    }
    command
}

/// Returns the path of the later command that was asked for, if it is one.
pub fn asked_for(matches: &clap::ArgMatches) -> Option<&'static str> {
    let (name, inner) = matches.subcommand()?;
    let path = inner.subcommand_name().map_or_else(|| name.to_owned(), |second| format!("{name} {second}"));
    LATER.iter().map(|(later, _)| *later).find(|later| *later == path || *later == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn check(line: &str, expected: Option<&str>) {
        let matches = add_to(crate::cli::Cli::command()).try_get_matches_from(line.split(' '));
        assert_eq!(asked_for(&matches.expect("the line is accepted")), expected, "{line}");
    }

    #[test]
    fn later_commands_are_accepted_with_any_arguments() {
        check("apportion executor --listen 127.0.0.1:1", Some("executor"));
        let adjust =
            "apportion adjust --date 2026-10-17 --from-tenant a --to-tenant b --amount 1 --currency USD --reason r";
        check(&format!("{adjust} --reference x"), None);
        check("apportion statement 2026-10 --journal", None);
        check("apportion costs changes --tenant a --range 30d", None);
        check("apportion policy simulate draft.toml", None);
        check("apportion costs --by tenant", None);
        check("apportion policy list", None);
        check("apportion snapshot run --date 2026-01-01", None);
    }
}

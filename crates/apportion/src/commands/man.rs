//! `man`: the manual page, made of what help and completion are made of.

use super::Context;
use crate::cli::Cli;
use crate::exit::Exit;
use anyhow::Result;
use clap::{Arg, Command, CommandFactory as _};

/// What scripts read from how the process ends.
const EXITS: [(Exit, &str); 10] = [
    (Exit::Ok, "Done."),
    (Exit::Failure, "Something failed that no other code names."),
    (Exit::Usage, "The command line makes no sense."),
    (Exit::NotFound, "What was asked for does not exist."),
    (Exit::Access, "No token, a wrong one, or one that may not do this."),
    (Exit::Conflict, "The input is not valid, or conflicts with what is stored or running."),
    (Exit::Unreachable, "The server or a source cannot be reached."),
    (Exit::Partial, "Done in part, or the numbers do not reconcile."),
    (Exit::Threshold, "A threshold was breached."),
    (Exit::Interrupted, "Stopped by the user."),
];

/// Variables of the environment that no flag names.
const VARIABLES: [(&str, &str); 5] = [
    (
        "APPORTION__SECTION__KEY",
        "A key of the configuration, such as APPORTION__SERVER__LISTEN; ends in _FILE for secrets in files.",
    ),
    (
        "APPORTION_ADMIN_TOKEN",
        "Token of the platform's admin, 32 to 200 visible ASCII characters, instead of one that is made.",
    ),
    (
        "APPORTION_USAGE_UNIT_COSTS",
        "Rate card as JSON for the view at current rates; with _FILE the name of a file that holds it.",
    ),
    ("APPORTION_LOG", "Filter of log lines on standard error, such as debug."),
    ("NO_COLOR", "No colours if it is not empty."),
];

/// Prints the manual page, for `man -l -`.
pub fn run(context: &Context) -> Result<Exit> {
    context.output.text(&page(&crate::later::add_to(Cli::command())))?;
    Ok(Exit::Ok)
}

/// The page as roff with the macros of `man`.
fn page(command: &Command) -> String {
    let mut page = format!(".TH APPORTION 1 \"\" \"apportion {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"));
    page.push_str(&format!(".SH NAME\napportion \\- {}\n", about(command)));
    page.push_str(".SH SYNOPSIS\n\\fBapportion\\fR [flags] command\n.SH GLOBAL FLAGS\n");
    arguments(command, &mut page);
    page.push_str(".SH COMMANDS\n");
    commands(command, "apportion", &mut page);
    page.push_str(".SH EXIT STATUS\n");
    for (exit, meaning) in EXITS {
        entry(&(exit as i32).to_string(), meaning, &mut page);
    }
    page.push_str(".SH ENVIRONMENT\n");
    for (name, meaning) in VARIABLES {
        entry(&escaped(name), meaning, &mut page);
    }
    page
}

/// Every command below this one, in the order of its help.
fn commands(command: &Command, path: &str, page: &mut String) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let path = format!("{path} {}", inner.get_name());
        page.push_str(&format!(".SS {}\n{}\n", escaped(&path), about(inner)));
        arguments(inner, page);
        commands(inner, &path, page);
    }
}

fn arguments(command: &Command, page: &mut String) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        entry(&name_of(argument), &meaning_of(argument), page);
    }
}

/// How an argument is typed: `-o, --output FORMAT`, or the name of its value alone.
fn name_of(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", escaped(long)));
    let flag = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    let names = argument.get_value_names().filter(|_| argument.get_action().takes_values()).unwrap_or_default();
    let values = names.iter().map(|name| format!("\\fI{}\\fR", escaped(name)));
    Some(flag).filter(|flag| !flag.is_empty()).into_iter().chain(values).collect::<Vec<_>>().join(" ")
}

fn meaning_of(argument: &Arg) -> String {
    let mut meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let choices = argument.get_possible_values();
    if !choices.is_empty() {
        let names = choices.iter().map(|choice| choice.get_name()).collect::<Vec<_>>().join(", ");
        meaning.push_str(&format!(" [{names}]"));
    }
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        meaning.push_str(&format!(" [default: {}]", defaults.join(" ")));
    }
    if let Some(variable) = argument.get_env() {
        meaning.push_str(&format!(" [environment: {}]", variable.to_string_lossy()));
    }
    meaning
}

fn about(command: &Command) -> String {
    escaped(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

/// One name and what it means. `name` is roff already.
fn entry(name: &str, meaning: &str, page: &mut String) {
    page.push_str(&format!(".TP\n{name}\n{}\n", escaped(meaning)));
}

/// The text as roff: hyphens stay hyphens, and no line begins like a macro.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_flag_and_exit_code() {
        fn check(command: &Command, path: &str, page: &str) {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let long = argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")));
                assert!(long.is_none_or(|long| page.contains(&long)), "{path}: {}", argument.get_id());
            }
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name().replace('-', "\\-"));
                assert!(page.contains(&format!("\n.SS {path}\n")), "{path}");
                check(inner, &path, page);
            }
        }
        let command = crate::later::add_to(Cli::command());
        let page = page(&command);
        check(&command, "apportion", &page);
        assert!(page.contains(".SH EXIT STATUS\n.TP\n0\nDone.\n") && page.contains("\n.TP\n130\n"));
        let macros = [".TH ", ".SH ", ".SS ", ".TP"];
        let strange =
            page.lines().find(|line| line.starts_with('.') && !macros.iter().any(|word| line.starts_with(word)));
        assert_eq!(strange, None);
    }

    #[test]
    fn text_is_not_taken_for_roff() {
        assert_eq!(escaped(".TH a\\b\n'x --y"), "\\&.TH a\\eb\n\\&'x \\-\\-y");
    }
}

//! READMEs as they are followed: what is told, what is run, and what that says.

/// A command of a README.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The text before it, since the command or the heading before.
    pub told: String,
    pub command: String,
    /// What it says, according to the README.
    pub said: String,
}

/// The commands in the `console` blocks of a README: what follows `$ `, with the lines that follow `> `.
pub fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut told, mut in_block) = (String::new(), false);
    for line in readme.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if !in_block && line.starts_with('#') {
            told.clear();
        } else if !in_block {
            told = format!("{told}{line}\n");
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                told: std::mem::take(&mut told).trim().to_owned(),
                command: command.to_owned(),
                said: String::new(),
            });
        } else {
            let step = steps.last_mut().expect("a command comes first");
            match line.strip_prefix("> ") {
                Some(more) => step.command = format!("{}\n{more}", step.command),
                None => step.said = format!("{}{line}\n", step.said),
            }
        }
    }
    steps
}

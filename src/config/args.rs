//! Where settings come from: flags made from the table, the environment, a TOML file.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use super::read::{Source, Sources};
use super::table::{SETTINGS, Setting};
use super::{Settings, SettingsError};

const CONFIG: &str = "config";
const CONFIG_ENV: &str = "VOXRAY_CONFIG";
const HEADING: &str = "Settings (flags win over the environment, which wins over the file)";

/// The flags of a command: every setting, or those that any command needs.
#[derive(Clone, Debug, Default)]
struct Flags<const EVERY: bool> {
    given: Vec<(&'static str, String)>,
    config: Option<String>,
}

/// The flags of `serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServerSettings {
    #[command(flatten)]
    flags: Flags<true>,
}

/// The flags of a command that only needs the store.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreSettings {
    #[command(flatten)]
    flags: Flags<false>,
}

impl ServerSettings {
    pub fn load(&self) -> Result<Settings, SettingsError> {
        self.flags.load()
    }
}

impl StoreSettings {
    pub fn load(&self) -> Result<Settings, SettingsError> {
        self.flags.load()
    }
}

impl<const EVERY: bool> Flags<EVERY> {
    fn load(&self) -> Result<Settings, SettingsError> {
        let env = |name: &str| std::env::var(name).ok();
        let config = self
            .config
            .clone()
            .or_else(|| env(CONFIG_ENV).filter(|path| !path.is_empty()));
        let file = match config {
            None => None,
            Some(path) => Some((path.clone(), read_file(&path)?)),
        };
        sources(
            &self.given,
            env,
            file.as_ref()
                .map(|(path, text)| (path.as_str(), text.as_str())),
        )?
        .read()
    }
}

fn read_file(path: &str) -> Result<String, SettingsError> {
    std::fs::read_to_string(PathBuf::from(path)).map_err(|error| {
        SettingsError(vec![format!(
            "the settings file `{path}` cannot be read: {error}"
        )])
    })
}

/// The winning value of each setting that is given at all. An empty variable counts as not given.
fn sources(
    flags: &[(&'static str, String)],
    env: impl Fn(&str) -> Option<String>,
    file: Option<(&str, &str)>,
) -> Result<Sources, SettingsError> {
    let in_file = match file {
        Some((path, text)) => from_file(path, text)?,
        None => Vec::new(),
    };
    let mut sources = Sources::default();
    for setting in SETTINGS {
        let flag = || {
            let (_, value) = flags.iter().find(|(name, _)| *name == setting.name)?;
            Some((value.clone(), format!("`--{}`", dashed(setting))))
        };
        let variable = || {
            let value = env(setting.env).filter(|value| !value.is_empty())?;
            Some((value, format!("the variable `{}`", setting.env)))
        };
        let line = || {
            let (_, value, source) = in_file.iter().find(|(name, ..)| *name == setting.name)?;
            Some((value.clone(), source.clone()))
        };
        if let Some((value, source)) = flag().or_else(variable).or_else(line) {
            sources.given.push((setting.name, value, source));
        }
    }
    Ok(sources)
}

fn from_file(path: &str, text: &str) -> Result<Vec<(&'static str, String, Source)>, SettingsError> {
    let table: toml::Table = text.parse().map_err(|error| {
        SettingsError(vec![format!(
            "the settings file `{path}` is no TOML: {error}"
        )])
    })?;
    let mut values = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in &table {
        match (
            SETTINGS.iter().find(|setting| setting.name == name),
            text_of(value),
        ) {
            (Some(setting), Some(text)) => {
                values.push((setting.name, text, format!("the file `{path}`")))
            }
            (Some(_), None) => {
                faults.push(format!("setting `{name}` from the file `{path}`: must be a text, a number or a list of texts"));
            }
            (None, _) => faults.push(format!(
                "the file `{path}` has no setting `{name}`; the nearest is `{}`",
                nearest(name)
            )),
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(SettingsError(faults))
    }
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

fn nearest(name: &str) -> &'static str {
    let distance = |setting: &&Setting| strsim::damerau_levenshtein(setting.name, name);
    SETTINGS
        .iter()
        .min_by_key(distance)
        .map_or("", |setting| setting.name)
}

fn dashed(setting: &Setting) -> String {
    setting.name.replace('_', "-")
}

impl<const EVERY: bool> clap::FromArgMatches for Flags<EVERY> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned();
        let flags = SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.name, given(setting.name)?)));
        Ok(Self {
            given: flags.collect(),
            config: given(CONFIG),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<const EVERY: bool> clap::Args for Flags<EVERY> {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .help(format!(
                "TOML file with any of these settings [env: {CONFIG_ENV}]"
            ))
            .help_heading(HEADING);
        let wanted = SETTINGS
            .iter()
            .filter(|setting| EVERY || setting.for_every_command);
        command.arg(config).args(wanted.map(|setting| {
            let default = match setting.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            Arg::new(setting.name)
                .long(dashed(setting))
                .value_name("VALUE")
                .help(format!("{}{default} [env: {}]", setting.help, setting.env))
                .help_heading(HEADING)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        flags: &[(&'static str, &str)],
        env: &[(&str, &str)],
        file: &str,
    ) -> Result<Settings, SettingsError> {
        let flags: Vec<_> = flags
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let env = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let home = [("data_dir", "/tmp/v".to_owned())];
        sources(
            &[flags.as_slice(), &home].concat(),
            env,
            Some(("v.toml", file)),
        )?
        .read()
    }

    #[test]
    fn flags_win_over_the_environment_which_wins_over_the_file() {
        let file = "pool_size = 1\nlog_level = \"warn\"\ncache_ttl_ms = 5\ncors_origins = [\"https://a.example\"]";
        let env = [
            ("VOXRAY_POOL_SIZE", "2"),
            ("VOXRAY_LOG_LEVEL", "debug"),
            ("VOXRAY_LISTEN", ""),
        ];
        let settings = read(&[("pool_size", "3")], &env, file).expect("settings");
        assert_eq!(settings.pool_size, 3);
        assert_eq!(settings.log_level, "debug");
        assert_eq!(settings.cache_ttl.as_millis(), 5);
        assert_eq!(settings.cors_origins, ["https://a.example"]);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8787");
    }

    #[test]
    fn all_wrong_settings_name_themselves_their_source_and_the_form() {
        let env = [
            ("VOXRAY_LISTEN", "here"),
            ("DATABASE_URL", "mysql://u:secret@h/d"),
        ];
        let error = read(&[("pool_size", "0")], &env, "log_format = \"xml\"").expect_err("faults");
        assert_eq!(
            error.0,
            [
                "setting `listen` from the variable `VOXRAY_LISTEN`: must be an address and port such as \
                 `127.0.0.1:8787`, got `here`",
                "setting `database_url` from the variable `DATABASE_URL`: must start with `postgres://`",
                "setting `log_format` from the file `v.toml`: must be `human` or `json`, got `xml`",
                "setting `pool_size` from `--pool-size`: must be a whole number between 1 and 1000, got `0`",
            ]
        );
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_met_with_the_nearest() {
        let error = read(&[], &[], "pool_sice = 3").expect_err("a fault");
        assert_eq!(
            error.0,
            ["the file `v.toml` has no setting `pool_sice`; the nearest is `pool_size`"]
        );
    }

    #[test]
    fn an_origin_has_no_path() {
        assert!(read(&[("cors_origins", "https://a.example/x")], &[], "").is_err());
        assert!(
            read(
                &[("cors_origins", "http://localhost:3000, https://b.example")],
                &[],
                ""
            )
            .is_ok()
        );
    }
}

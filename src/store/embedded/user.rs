//! As whom Postgres runs. It refuses root, so under root it becomes the cluster's owner, `postgres`
//! or `nobody`, by number before exec, without the rest of our environment.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{EmbeddedError, Result};

#[derive(Clone, Debug)]
pub(super) struct Account {
    /// None: as we are.
    switch_to: Option<Ids>,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The owner of an existing cluster stays its owner; a new one belongs to the first user there is.
    pub fn for_cluster(data: &Path) -> Result<Self> {
        let owner = fs::metadata(data).ok().map(|meta| Ids {
            uid: meta.uid(),
            gid: meta.gid(),
        });
        let me = rustix::process::geteuid().as_raw();
        if me != 0 {
            return match owner {
                Some(owner) if owner.uid != me => Err(EmbeddedError::ForeignOwner {
                    folder: data.to_owned(),
                    owner: owner.uid,
                }),
                _ => Ok(Self {
                    switch_to: None,
                    name: format!("uid {me}"),
                }),
            };
        }
        if let Some(owner) = owner.filter(|owner| owner.uid != 0) {
            return Ok(Self {
                switch_to: Some(owner),
                name: format!("uid {}", owner.uid),
            });
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| {
                Some(Self {
                    switch_to: Some(look_up(&users, name)?),
                    name: name.to_owned(),
                })
            })
            .ok_or(EmbeddedError::NoAccount)
    }

    /// A program of Postgres, to be run as this user. The standard library drops root's further groups.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/bin:/bin");
        command.current_dir("/").stdin(Stdio::null());
        if let Some(Ids { uid, gid }) = self.switch_to {
            command.gid(gid).uid(uid);
        }
        command
    }

    /// A folder or file that is this user's alone.
    pub fn take(&self, path: &Path, mode: u32) -> Result<()> {
        if let Some(Ids { uid, gid }) = self.switch_to {
            chown(path, Some(uid), Some(gid))
                .map_err(EmbeddedError::file("give to postgres", path))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(EmbeddedError::file("set permissions of", path))
    }

    /// Makes a folder of this user's own, unless it is there. Below a shared folder somebody may have
    /// made it before us, so what is found must be a real folder of the right owner.
    pub fn make_private_folder(&self, folder: &Path) -> Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => return self.take(folder, 0o700),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(EmbeddedError::file("make", folder)(error)),
        }
        let meta = fs::symlink_metadata(folder).map_err(EmbeddedError::file("look at", folder))?;
        let me = rustix::process::geteuid().as_raw();
        let expected = self.switch_to.map_or(me, |ids| ids.uid);
        if !meta.is_dir() || (meta.uid() != expected && meta.uid() != me) {
            return Err(EmbeddedError::ForeignOwner {
                folder: folder.to_owned(),
                owner: meta.uid(),
            });
        }
        self.take(folder, 0o700)
    }

    /// Makes the data directory with its parents, all of which this user can pass.
    pub fn make_passable(&self, folder: &Path) -> Result<()> {
        let missing: Vec<&Path> = folder.ancestors().take_while(|it| !it.exists()).collect();
        let existing = folder
            .ancestors()
            .nth(missing.len())
            .unwrap_or(Path::new("/"));
        self.check_reaches(existing)?;
        let mode = if self.switch_to.is_some() {
            0o711
        } else {
            0o700
        };
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(mode))
                    .map_err(EmbeddedError::file("set permissions of", folder))?,
                // Another process came first.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(EmbeddedError::file("make", folder)(error)),
            }
        }
        Ok(())
    }

    /// Names the first folder on the way that the user cannot enter. Tried rather than reckoned from
    /// permission bits, because access lists and mounts have a say too.
    fn check_reaches(&self, folder: &Path) -> Result<()> {
        if self.switch_to.is_none() || self.can_enter(folder)? {
            return Ok(());
        }
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        for step in way {
            if !self.can_enter(step)? {
                return Err(EmbeddedError::Unreachable {
                    folder: step.to_owned(),
                    user: self.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn can_enter(&self, folder: &Path) -> Result<bool> {
        let mut shell = self.command(Path::new("/bin/sh"));
        match shell.args(["-c", ":"]).current_dir(folder).status() {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(EmbeddedError::file("enter", folder)(error)),
        }
    }
}

/// `name:password:uid:gid:…`. Some systems write `nobody` as a negative number.
fn look_up(users: &str, name: &str) -> Option<Ids> {
    let fields: Vec<&str> = users
        .lines()
        .map(|line| line.split(':').collect())
        .find(|it: &Vec<&str>| it[0] == name)?;
    let number = |index: usize| {
        let text = fields.get(index)?;
        text.parse::<u32>()
            .ok()
            .or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
    };
    Some(Ids {
        uid: number(2)?,
        gid: number(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_by_name() {
        let users = "root:x:0:0::/root:/bin/sh\nnobody:*:-2:-2::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(look_up(users, "postgres"), Some(Ids { uid: 101, gid: 104 }));
        assert_eq!(
            look_up(users, "nobody"),
            Some(Ids {
                uid: u32::MAX - 1,
                gid: u32::MAX - 1
            })
        );
        assert_eq!(look_up(users, "post"), None);
        assert_eq!(look_up("\npostgres:x\n", "postgres"), None);
    }
}

//! The program: a folder of manifests in, a directory of documents out, statuses told.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::ObjectRef;
use crate::publish::{Directory, notify};
use crate::status::Status;
use crate::translate::{Memo, Options};
use crate::watch::{Folder, Refreshed};

/// What the program is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    pub from: PathBuf,
    pub to: PathBuf,
    /// Where the gateway to be notified has written its process id.
    pub pid_file: Option<PathBuf>,
    pub options: Options,
}

/// Translates once.
pub fn run(settings: Settings, output: &mut impl Write) -> anyhow::Result<()> {
    Adapter::open(settings)?.start(output)
}

/// Translates whenever the folder changes, until it is told to stop by SIGTERM or SIGINT. SIGHUP
/// makes it read everything again.
pub async fn watch(settings: Settings, output: &mut impl Write) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut adapter = Adapter::open(settings)?;
    adapter.start(output)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                log::info!("reading everything again");
                adapter.folder.forget_stamps();
                adapter.directory.forget();
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if adapter.settled_change().await {
            adapter.step(Notify::Changed, output)?;
        }
    }
}

/// How often the folder is looked at; a look that finds nothing costs a `stat` for each file.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a changed folder must be at rest before it is acted upon, and the most that is waited.
const AT_REST: Duration = Duration::from_millis(20);
const MOST_LOOKS: u32 = 10;

struct Adapter {
    settings: Settings,
    folder: Folder,
    memo: Memo,
    directory: Directory,
    /// What was told last.
    told: BTreeMap<ObjectRef, Status>,
}

impl Adapter {
    fn open(settings: Settings) -> anyhow::Result<Self> {
        let folder = Folder::new(&settings.from);
        let directory = Directory::open(&settings.to)?;
        Ok(Self { settings, folder, memo: Memo::default(), directory, told: BTreeMap::new() })
    }

    /// The first translation: here a folder that cannot be read is an error, not a moment's trouble,
    /// and the gateway is notified even if all files are as they should be, for it may not know.
    fn start(&mut self, output: &mut impl Write) -> anyhow::Result<()> {
        let refreshed =
            self.folder.refresh().with_context(|| format!("cannot read {}", self.settings.from.display()))?;
        report(&refreshed);
        self.step(Notify::Always, output)
    }

    fn step(&mut self, when: Notify, output: &mut impl Write) -> anyhow::Result<()> {
        let translation = self.memo.translate(&self.folder.snapshot(), &self.settings.options);
        let published = self.directory.publish(&translation.files)?;
        for path in &published.in_the_way {
            log::error!("{} is not the adapter's and stands in its way; move it elsewhere", path.display());
        }
        if when == Notify::Always || !published.changed.is_empty() {
            log::info!("{} files changed in {}", published.changed.len(), self.settings.to.display());
            self.notify();
        }
        self.tell(translation.statuses, output)
    }

    fn notify(&self) {
        let Some(pid_file) = &self.settings.pid_file else { return };
        if let Err(error) = notify(pid_file) {
            log::warn!("the gateway is not told of its new configuration: {error}");
        }
    }

    /// Prints the statuses that differ from those told last.
    fn tell(&mut self, statuses: Vec<Status>, output: &mut impl Write) -> anyhow::Result<()> {
        let statuses: BTreeMap<_, _> = statuses.into_iter().map(|status| (status.object.clone(), status)).collect();
        for object in self.told.keys().filter(|object| !statuses.contains_key(object)) {
            writeln!(output, "---\n# {object} is no longer ours or gone")?;
        }
        for (object, status) in &statuses {
            if self.told.get(object) != Some(status) {
                write!(output, "---\n{}", status.to_yaml())?;
            }
        }
        output.flush()?;
        self.told = statuses;
        Ok(())
    }

    /// Whether something changed, once it is at rest.
    async fn settled_change(&mut self) -> bool {
        let mut changed = false;
        for _ in 0..MOST_LOOKS {
            match self.folder.refresh() {
                Ok(refreshed) => {
                    report(&refreshed);
                    if !refreshed.changed {
                        return changed;
                    }
                    changed = true;
                }
                Err(error) => {
                    log::warn!("{}: {error}; what was read before stays in force", self.settings.from.display());
                    return changed;
                }
            }
            tokio::time::sleep(AT_REST).await;
        }
        changed
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Notify {
    Always,
    /// Only if a file changed.
    Changed,
}

fn report(refreshed: &Refreshed) {
    refreshed.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    refreshed.notes.iter().for_each(|note| log::info!("{note}"));
}

//! Debian packages: which are missing, and installing them where this process may.

use crate::{
    Result,
    command::{command, output, run},
};

/// Those of `packages` that are not installed; all of them where there is no dpkg.
pub(crate) fn missing<'p>(packages: &[&'p str]) -> Vec<&'p str> {
    packages.iter().copied().filter(|package| !is_installed(package)).collect()
}

fn is_installed(package: &str) -> bool {
    output(command("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// Whether [`install`] can work here: root, and apt-get is there.
pub(crate) fn can_install() -> bool {
    output(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
        && output(command("apt-get").arg("--version")).is_ok()
}

/// Installs `packages`, refreshing apt's lists first where they don't know one of them or turn out to be stale.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let known = packages.iter().all(|package| {
        output(command("apt-cache").args(["show", "--no-all-versions", package]))
            .is_ok_and(|text| !text.is_empty())
    });
    if known && apt_get(&["install", "--yes", "--no-install-recommends"], packages).is_ok() {
        return Ok(());
    }
    apt_get(&["update"], &[])?;
    apt_get(&["install", "--yes", "--no-install-recommends"], packages)
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let mut apt_get = command("apt-get");
    run(apt_get.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).args(packages))
}

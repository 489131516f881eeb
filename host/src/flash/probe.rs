//! Debug probes on USB, through probe-rs. Thin: what is checked and said is `super`'s.

use super::{OnProgress, Phase, ProbeError, ProbeInfo, Probes, Target};
use crate::image::Image;
use probe_rs::config::{MemoryRegion, Registry};
use probe_rs::flashing::{DownloadOptions, FlashError, FlashProgress, ProgressEvent, ProgressOperation};
use probe_rs::probe::list::{Accessibility, Lister};
use probe_rs::probe::{DebugProbeInfo, DebugProbeSelector};
use probe_rs::{MemoryInterface as _, Permissions, Session};
use std::error::Error;
use std::ops::Range;

/// The probes that probe-rs finds, and the chips it knows.
pub struct UsbProbes {
    lister: Lister,
    registry: Registry,
}

impl Default for UsbProbes {
    fn default() -> Self {
        Self { lister: Lister::new(), registry: Registry::from_builtin_families() }
    }
}

/// An error and what it was caused by, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{}: {cause}", text.trim_end_matches('.'));
        source = cause.source();
    }
    text
}

fn selector(probe: &DebugProbeInfo) -> String {
    DebugProbeSelector::from(probe).to_string()
}

impl Probes for UsbProbes {
    type Target = UsbTarget;

    fn list(&mut self) -> Vec<ProbeInfo> {
        let found = self.lister.list_all_with_access();
        let info = |probe: &probe_rs::probe::list::ProbeListItem| ProbeInfo {
            selector: selector(&probe.info),
            name: probe.info.identifier.clone(),
            permitted: probe.accessibility == Accessibility::Accessible,
        };
        found.iter().map(info).collect()
    }

    fn flash_of(&self, chip: &str) -> Option<Vec<Range<u64>>> {
        let target = self.registry.get_target_by_name(chip).ok()?;
        let regions = target.memory_map.iter();
        Some(regions.filter_map(MemoryRegion::as_nvm_region).map(|region| region.range.clone()).collect())
    }

    fn attach(&mut self, probe: &ProbeInfo, chip: &str) -> Result<UsbTarget, ProbeError> {
        let found = self.lister.list_all().into_iter().find(|found| selector(found) == probe.selector);
        let found = found.ok_or_else(|| ProbeError::Open("it was unplugged".to_owned()))?;
        let opened = found.open().map_err(|error| ProbeError::Open(chain(&error)))?;
        // Without the permission to erase: a lock that only an erasure opens is told, not broken.
        let session = opened.attach_with_registry(chip, Permissions::new(), &self.registry);
        match session {
            Ok(session) => Ok(UsbTarget { session }),
            Err(probe_rs::Error::MissingPermissions(_)) => Err(ProbeError::Locked(
                "it lets a probe in only after all of its flash is erased; unlock it with its vendor's tool"
                    .to_owned(),
            )),
            Err(error) => Err(ProbeError::Attach(chain(&error))),
        }
    }
}

/// A chip that probe-rs has hold of.
pub struct UsbTarget {
    session: Session,
}

fn access(error: &dyn Error) -> ProbeError {
    ProbeError::Access(chain(error))
}

impl Target for UsbTarget {
    fn read_word(&mut self, address: u32) -> Result<u32, ProbeError> {
        let mut core = self.session.core(0).map_err(|error| access(&error))?;
        core.read_word_32(address.into()).map_err(|error| access(&error))
    }

    fn program(&mut self, image: &Image, progress: &mut OnProgress<'_>) -> Result<(), ProbeError> {
        let mut loader = self.session.target().flash_loader();
        for segment in &image.segments {
            loader.add_data(segment.address.into(), &segment.bytes).map_err(|error| access(&error))?;
        }
        // Totals come before the work, one for each flash algorithm that takes part.
        let mut totals = [0u64; 3];
        let mut done = [0u64; 3];
        let on_event = |event: ProgressEvent| match event {
            ProgressEvent::AddProgressBar { operation, total } => {
                if let Some((_, index)) = phase(operation) {
                    totals[index] += total.unwrap_or_default();
                }
            }
            ProgressEvent::Progress { operation, size, .. } => {
                if let Some((phase, index)) = phase(operation) {
                    done[index] += size;
                    progress(phase, done[index], totals[index]);
                }
            }
            ProgressEvent::DiagnosticMessage { message } => log::debug!("flash algorithm: {message}"),
            _ => {}
        };
        let mut options = DownloadOptions::new();
        options.progress = FlashProgress::new(on_event);
        options.verify = true;
        match loader.commit(&mut self.session, options) {
            Ok(()) => Ok(()),
            Err(FlashError::Verify) => Err(ProbeError::Verify),
            Err(error) => Err(access(&error)),
        }
    }

    fn reset(&mut self) -> Result<(), ProbeError> {
        let mut core = self.session.core(0).map_err(|error| access(&error))?;
        core.reset().map_err(|error| access(&error))
    }
}

/// The phase of one of probe-rs' operations, and its index; it has one more, for bytes that are kept, which isn't used.
fn phase(operation: ProgressOperation) -> Option<(Phase, usize)> {
    match operation {
        ProgressOperation::Erase => Some((Phase::Erase, 0)),
        ProgressOperation::Program => Some((Phase::Program, 1)),
        ProgressOperation::Verify => Some((Phase::Verify, 2)),
        ProgressOperation::Fill => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::chip;

    #[test]
    fn every_chip_that_ohmrig_knows_has_flash_that_probe_rs_can_write() {
        let probes = UsbProbes::default();
        for (name, start) in
            [("STM32G474RETx", 0x0800_0000), ("RP2040", 0x1000_0000), ("RP235x", 0x1000_0000)]
        {
            assert!(chip::chip(name).is_some(), "{name}");
            let flash = probes.flash_of(name).unwrap();
            assert!(flash.iter().any(|range| range.start == start), "{name}: {flash:x?}");
        }
        assert_eq!(probes.flash_of("Z80"), None);
    }
}

//! Owns what a house is built of before it stands on its thread: sockets that are open already, and
//! how it is to behave. It accepts nothing.

use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use rustls::ServerConfig;

use super::super::one_way::Tidings;
use super::super::order::Group;
use super::super::stage::Stage;
use super::behaviour::Behaviour;
use super::doors::Doors;
use super::house::House;

/// The backend of one group, on its way to a thread.
pub struct Foundation {
    pub group: Group,
    pub doors: Doors,
    /// None: it sees no TLS.
    pub tls: Option<Arc<ServerConfig>>,
    pub behaviour: Behaviour,
    pub random: Rng,
    pub tidings: Arc<Tidings>,
}

impl Foundation {
    /// Accepts from now on, and counts on a part of the stage.
    pub fn build(self, stage: &Stage) -> Rc<House> {
        let Foundation { group, doors, tls, behaviour, random, tidings } = self;
        let house = House::new(stage.part(), group, behaviour, tls, random, tidings);
        doors.serve(&house);
        house
    }
}

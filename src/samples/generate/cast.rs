//! Who talks in generated calls: five agents with two versions each, and the services they use.

use super::distributions::{
    DETECTION_DEFAULT, DETECTION_TUNED, ENDPOINTING_DEFAULT, ENDPOINTING_TUNED, FLASH, GPT_4_1,
    GPT_4O_MINI, NOVA_3, SONIC_2, Time,
};
use super::lines;
use super::script::Script;

pub struct Agent {
    pub id: &'static str,
    pub workflow: (&'static str, &'static str),
    /// Outbound calls belong to one of these.
    pub campaigns: &'static [&'static str],
    /// With how many of ten calls come through each.
    pub channels: &'static [(&'static str, u32)],
    /// Area code 555 is nobody's.
    pub number: &'static str,
    /// Of a hundred calls.
    pub share: u32,
    pub script: Script,
    /// The one in use, and the better one that is being rolled out.
    pub versions: [Version; 2],
}

pub struct Version {
    pub id: &'static str,
    pub stt: Model,
    pub llm: Model,
    pub tts: Model,
    pub voice: &'static str,
    pub endpointing: Time,
    pub configured_endpointing_ms: u32,
    /// From the onset of the user's speech to the decision that it interrupts.
    pub detection: Time,
    /// Of an agent's turns, how many are talked over.
    pub talked_over: f64,
}

#[derive(Clone, Copy)]
pub struct Model {
    pub provider: &'static str,
    pub name: &'static str,
    /// To the final transcript, the first token, the first audio.
    pub first: Time,
}

const fn model(provider: &'static str, name: &'static str, first: Time) -> Model {
    Model {
        provider,
        name,
        first,
    }
}

const STT: Model = model("deepgram", "nova-3", NOVA_3);
pub const LARGE: Model = model("openai", "gpt-4.1", GPT_4_1);
pub const SMALL: Model = model("openai", "gpt-4o-mini", GPT_4O_MINI);
pub const SONIC: Model = model("cartesia", "sonic-2", SONIC_2);
pub const ELEVEN: Model = model("elevenlabs", "eleven_flash_v2_5", FLASH);

/// Of a hundred calls, how many the better version takes.
pub const ROLLED_OUT: u32 = 45;

/// As frameworks come out of the box, with a large model.
const fn current(id: &'static str, tts: Model, voice: &'static str) -> Version {
    Version {
        id,
        stt: STT,
        llm: LARGE,
        tts,
        voice,
        endpointing: ENDPOINTING_DEFAULT,
        configured_endpointing_ms: 700,
        detection: DETECTION_DEFAULT,
        talked_over: 0.09,
    }
}

/// Tuned, with a small model.
const fn better(id: &'static str, tts: Model, voice: &'static str) -> Version {
    Version {
        id,
        stt: STT,
        llm: SMALL,
        tts,
        voice,
        endpointing: ENDPOINTING_TUNED,
        configured_endpointing_ms: 400,
        detection: DETECTION_TUNED,
        talked_over: 0.06,
    }
}

pub static AGENTS: [Agent; 5] = [
    Agent {
        id: "appointment-desk",
        workflow: ("appointment-booking", "Appointment booking"),
        campaigns: &["recall-check-up"],
        channels: &[("inbound", 8), ("outbound", 2)],
        number: "+15550100101",
        share: 28,
        script: lines::APPOINTMENTS,
        versions: [
            current("2.3.0", ELEVEN, "anna"),
            better("2.4.0", SONIC, "anna"),
        ],
    },
    Agent {
        id: "order-line",
        workflow: ("order-status", "Order status"),
        campaigns: &["delivery-notice"],
        channels: &[("inbound", 6), ("web", 3), ("outbound", 1)],
        number: "+15550100102",
        share: 26,
        script: lines::ORDERS,
        versions: [
            current("1.8.2", SONIC, "marc"),
            better("1.9.0", SONIC, "marc"),
        ],
    },
    Agent {
        id: "billing-reminder",
        workflow: ("payment-reminder", "Payment reminder"),
        campaigns: &["first-reminder", "second-reminder"],
        channels: &[("outbound", 9), ("inbound", 1)],
        number: "+15550100103",
        share: 18,
        script: lines::PAYMENTS,
        versions: [
            current("3.0.1", SONIC, "june"),
            better("3.1.0", ELEVEN, "june"),
        ],
    },
    Agent {
        id: "wellbeing-check",
        workflow: ("daily-check-in", "Daily check-in"),
        campaigns: &["morning-round", "evening-round"],
        channels: &[("outbound", 10)],
        number: "+15550100104",
        share: 14,
        script: lines::WELLBEING,
        versions: [
            current("0.9.0", ELEVEN, "clara"),
            better("1.0.0", SONIC, "clara"),
        ],
    },
    Agent {
        id: "device-support",
        workflow: ("device-support", "Device support"),
        campaigns: &["recall-2-4"],
        channels: &[("web", 7), ("inbound", 3)],
        number: "+15550100105",
        share: 14,
        script: lines::DEVICES,
        versions: [
            current("5.1.0", SONIC, "theo"),
            better("5.2.0", SONIC, "theo"),
        ],
    },
];

impl Version {
    /// What is used where a service does not answer.
    pub fn stand_in(&self, stage: &str) -> Model {
        match stage {
            "llm" if self.llm.name == LARGE.name => SMALL,
            "llm" => LARGE,
            _ if self.tts.provider == SONIC.provider => ELEVEN,
            _ => SONIC,
        }
    }
}

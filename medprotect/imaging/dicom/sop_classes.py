"""What the SOP classes are to a run (PS3.4 section B.5, PS3.6 annex A)."""

import re

OTHER = {
    "1.2.840.10008.1.3.10": "DICOMDIR",
    "1.2.840.10008.5.1.4.1.1.4.2": "spectroscopy",
    "1.2.840.10008.5.1.4.1.1.8": "overlay",
    "1.2.840.10008.5.1.4.1.1.9": "waveform",
    "1.2.840.10008.5.1.4.1.1.10": "modality LUT",
    "1.2.840.10008.5.1.4.1.1.11": "presentation state",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.1": "registration",
    "1.2.840.10008.5.1.4.1.1.66.2": "fiducials",
    "1.2.840.10008.5.1.4.1.1.66.3": "registration",
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.5": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.6": "tractography",
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.8": "SEG",
    "1.2.840.10008.5.1.4.1.1.67": "real world value mapping",
    "1.2.840.10008.5.1.4.1.1.68": "surface scan",
    "1.2.840.10008.5.1.4.1.1.77.1.5.3": "stereometric relationship",
    "1.2.840.10008.5.1.4.1.1.78": "ophthalmic measurements",
    "1.2.840.10008.5.1.4.1.1.79": "SR",
    "1.2.840.10008.5.1.4.1.1.80": "ophthalmic measurements",
    "1.2.840.10008.5.1.4.1.1.88": "SR",
    "1.2.840.10008.5.1.4.1.1.88.59": "KO",
    "1.2.840.10008.5.1.4.1.1.90": "content assessment",
    "1.2.840.10008.5.1.4.1.1.91": "annotations",
    "1.2.840.10008.5.1.4.1.1.104": "encapsulated document",
    "1.2.840.10008.5.1.4.1.1.131": "structured display",
    "1.2.840.10008.5.1.4.1.1.200": "procedure protocol",
    "1.2.840.10008.5.1.4.1.1.201": "inventory",
    "1.2.840.10008.5.1.4.1.1.481": "RT object",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.481.4": "RTRECORD",
    "1.2.840.10008.5.1.4.1.1.481.5": "RTPLAN",
    "1.2.840.10008.5.1.4.1.1.481.8": "RTPLAN",
    "1.2.840.10008.5.1.4.34": "RT object",
    "1.2.840.10008.5.1.4.38": "hanging protocol",
    "1.2.840.10008.5.1.4.39": "colour palette",
    "1.2.840.10008.5.1.4.43": "implant template",
    "1.2.840.10008.5.1.4.44": "implant template",
    "1.2.840.10008.5.1.4.45": "implant template",
}
"""Words for storage that is not images to be protected, by UID or by the beginning of one."""

MODALITIES = frozenset(
    re.findall(
        r"\w+",
        """
        ANN AR ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG
        EEG EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM
        OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE
        RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SC SEG SM SMR SR SRF ST STAIN
        TEXTUREMAP TG TP US VA VF VL XA XAPROTOCOL XC
        """,
    )
)
"""Defined terms of Modality (PS3.3 section C.7.3.1.1.1), retired ones included."""

RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"

QUANTITATIVE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine (retired)
        "1.2.840.10008.5.1.4.1.1.20",  # Nuclear Medicine
        "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
        "1.2.840.10008.5.1.4.1.1.81.1",  # Ophthalmic Thickness Map
        "1.2.840.10008.5.1.4.1.1.82.1",  # Corneal Topography Map
        "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
    }
)
"""Images whose values are measurements."""


def kind_of_other(sop_class: str) -> str:
    """Return the word for a SOP class that holds no images to be protected; "" for images."""
    if sop_class == RT_IMAGE:
        return ""
    beginning = sop_class
    while beginning:
        if beginning in OTHER:
            return OTHER[beginning]
        beginning = beginning.rpartition(".")[0]
    return ""


def is_image_storage(sop_class: str) -> bool:
    """Whether the standard says that objects of this class hold an image."""
    return sop_class.startswith("1.2.840.10008.5.1.4.1.1.") and not kind_of_other(sop_class)


BODY_PARTS = frozenset(
    re.findall(
        r"\w+",
        """
        ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BRONCHUS
        BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS
        CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW
        ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT GALLBLADDER HAND HEAD HEADNECK HEART
        HIP HUMERUS ILEUM ILIUM IAC JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE LUNG
        MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NOSE ORBIT OVARY PANCREAS
        PANCREATICDUCT PAROTID PATELLA PELVIS PELVISLOWEXTREM PENIS PHARYNX PROSTATE RECTUM RIB
        SCALP SCAPULA SCLERA SHOULDER SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR
        TESTIS THIGH THYMUS THYROID TLSPINE TMJ TOE TONGUE TRACHEA TSPINE UPPERARM URETER URETHRA
        UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA
        """,
    )
)
"""Body parts by code (PS3.16 annex L); whatever else stands there could be personal."""

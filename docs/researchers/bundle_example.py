"""Protect images with MONAI: transforms, a bundle run, a bundle exported and loaded.

A notebook as a script: ``python docs/researchers/bundle_example.py FOLDER`` runs it from end to
end, without a network; each cell (``# %%``) can be run by itself in an editor. FOLDER is new.
"""

# %% Two images that pydicom ships, and a key
import sys
from pathlib import Path

import torch
from monai.bundle import create_workflow, load
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose
from pydicom.data import get_testdata_file

from medprotect.bundle.export import export_bundle
from medprotect.confounder.card import load_card
from medprotect.confounder.key import Key
from medprotect.protect.transforms import (
    LoadProtectabled,
    Protectd,
    SaveProtectedd,
    check_of,
)

folder = Path(sys.argv[1]).resolve()
images = folder / "export"
images.mkdir(parents=True)
for name in ("CT_small.dcm", "MR_small.dcm"):
    source = get_testdata_file(name, download=False)
    (images / name).write_bytes(Path(str(source)).read_bytes())

key_file = folder / "keys" / "owner.key"
key = Key.new()
key.save(key_file)

# %% Protect them with transforms, in a loader
steps = Compose([LoadProtectabled("image"), Protectd("image", "radiology-grey", key)])
data = [{"image": str(path)} for path in sorted(images.iterdir())]
save = SaveProtectedd("image", folder / "by-transforms")
for batch in DataLoader(Dataset(data, steps), batch_size=1):
    for item in decollate_batch(batch):
        saved = save(item)["image"]
        found = check_of(saved)
        name = Path(saved.meta["saved_to"]).name
        print(f"{name}: {found.changed:.0%} of the pixels changed, within their budget")

# %% The same with the bundle's own inference
bundle = load_card("radiology-grey").folder
workflow = create_workflow(
    config_file=str(bundle / "configs" / "inference.json"),
    workflow_type="infer",
    bundle_root=str(bundle),
    dataset_dir=str(images),
    output_dir=str(folder / "by-bundle"),
    key_file=str(key_file),
)
workflow.run()
workflow.finalize()
for path in sorted((folder / "by-bundle").iterdir()):
    same = path.read_bytes() == (folder / "by-transforms" / path.name).read_bytes()
    print(f"{path.name}: the same bytes by transforms and by bundle: {same}")

# %% Export the pipeline, and load its network as any bundle's
contents = export_bundle("radiology-grey", folder / "radiology-grey_v1.0.0.zip")
contents.write(folder / "bundles" / "radiology-grey")
network = load(
    "radiology-grey", bundle_dir=folder / "bundles", workflow_type="inference", device="cpu"
)
with torch.inference_mode():
    noise = network.eval()(torch.rand(1, 1, 64, 64))
print(f"noise of {tuple(noise.shape)}, {noise.min():.2f} to {noise.max():.2f} of the budget")

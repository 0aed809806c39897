"""The trained weights that torchvision publishes: `load("ResNet18_Weights.IMAGENET1K_V1")`."""

from functools import cache
from typing import Final

_PUBLISHED: Final = {
    "COCO_LEGACY": "KeypointRCNN_ResNet50_FPN",
    "COCO_V1": """
        FCOS_ResNet50_FPN FasterRCNN_MobileNet_V3_Large_320_FPN FasterRCNN_MobileNet_V3_Large_FPN
        FasterRCNN_ResNet50_FPN FasterRCNN_ResNet50_FPN_V2 KeypointRCNN_ResNet50_FPN MaskRCNN_ResNet50_FPN
        MaskRCNN_ResNet50_FPN_V2 RetinaNet_ResNet50_FPN RetinaNet_ResNet50_FPN_V2 SSD300_VGG16
        SSDLite320_MobileNet_V3_Large
    """,
    "COCO_WITH_VOC_LABELS_V1": """
        DeepLabV3_MobileNet_V3_Large DeepLabV3_ResNet101 DeepLabV3_ResNet50 FCN_ResNet101 FCN_ResNet50
        LRASPP_MobileNet_V3_Large
    """,
    "C_T_SKHT_K_V1": "Raft_Large",
    "C_T_SKHT_K_V2": "Raft_Large",
    "C_T_SKHT_V1": "Raft_Large",
    "C_T_SKHT_V2": "Raft_Large",
    "C_T_V1": "Raft_Large Raft_Small",
    "C_T_V2": "Raft_Large Raft_Small",
    "IMAGENET1K_FEATURES": "VGG16",
    "IMAGENET1K_SWAG_E2E_V1": "RegNet_Y_128GF RegNet_Y_16GF RegNet_Y_32GF ViT_B_16 ViT_H_14 ViT_L_16",
    "IMAGENET1K_SWAG_LINEAR_V1": "RegNet_Y_128GF RegNet_Y_16GF RegNet_Y_32GF ViT_B_16 ViT_H_14 ViT_L_16",
    "IMAGENET1K_V1": """
        AlexNet ConvNeXt_Base ConvNeXt_Large ConvNeXt_Small ConvNeXt_Tiny DenseNet121 DenseNet161 DenseNet169
        DenseNet201 EfficientNet_B0 EfficientNet_B1 EfficientNet_B2 EfficientNet_B3 EfficientNet_B4
        EfficientNet_B5 EfficientNet_B6 EfficientNet_B7 EfficientNet_V2_L EfficientNet_V2_M EfficientNet_V2_S
        GoogLeNet Inception_V3 MNASNet0_5 MNASNet0_75 MNASNet1_0 MNASNet1_3 MaxVit_T MobileNet_V2
        MobileNet_V3_Large MobileNet_V3_Small RegNet_X_16GF RegNet_X_1_6GF RegNet_X_32GF RegNet_X_3_2GF
        RegNet_X_400MF RegNet_X_800MF RegNet_X_8GF RegNet_Y_16GF RegNet_Y_1_6GF RegNet_Y_32GF RegNet_Y_3_2GF
        RegNet_Y_400MF RegNet_Y_800MF RegNet_Y_8GF ResNeXt101_32X8D ResNeXt101_64X4D ResNeXt50_32X4D ResNet101
        ResNet152 ResNet18 ResNet34 ResNet50 ShuffleNet_V2_X0_5 ShuffleNet_V2_X1_0 ShuffleNet_V2_X1_5
        ShuffleNet_V2_X2_0 SqueezeNet1_0 SqueezeNet1_1 Swin_B Swin_S Swin_T Swin_V2_B Swin_V2_S Swin_V2_T
        VGG11 VGG11_BN VGG13 VGG13_BN VGG16 VGG16_BN VGG19 VGG19_BN ViT_B_16 ViT_B_32 ViT_L_16 ViT_L_32
        Wide_ResNet101_2 Wide_ResNet50_2
    """,
    "IMAGENET1K_V2": """
        EfficientNet_B1 MobileNet_V2 MobileNet_V3_Large RegNet_X_16GF RegNet_X_1_6GF RegNet_X_32GF
        RegNet_X_3_2GF RegNet_X_400MF RegNet_X_800MF RegNet_X_8GF RegNet_Y_16GF RegNet_Y_1_6GF RegNet_Y_32GF
        RegNet_Y_3_2GF RegNet_Y_400MF RegNet_Y_800MF RegNet_Y_8GF ResNeXt101_32X8D ResNeXt50_32X4D ResNet101
        ResNet152 ResNet50 Wide_ResNet101_2 Wide_ResNet50_2
    """,
    "KINETICS400_IMAGENET22K_V1": "Swin3D_B",
    "KINETICS400_V1": "MC3_18 MViT_V1_B MViT_V2_S R2Plus1D_18 R3D_18 S3D Swin3D_B Swin3D_S Swin3D_T",
}
"""What they are called, and the models that have them. Those of quantized models are left out."""


@cache
def published() -> frozenset[str]:
    """Every name: `ResNet18_Weights.IMAGENET1K_V1`, and `ResNet18_Weights.DEFAULT` for what torchvision thinks best."""
    models = {(model, weights) for weights, listed in _PUBLISHED.items() for model in listed.split()}
    best = {(model, "DEFAULT") for model, _ in models}
    return frozenset(f"{model}_Weights.{weights}" for model, weights in models | best)


def is_published(path: str) -> bool:
    """Whether a text has the form of such a name, and not that of a path."""
    model, dot, weights = path.partition(".")
    return bool(dot) and model.endswith("_Weights") and model.isidentifier() and weights.isidentifier()

"""The labels of the requests."""

_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
COCO = _COCO.split(",")
FIVE = ["person", "car", "dog", "bottle", "chair"]


def unseen(labels: list[str], number: int) -> list[str]:
    """Write labels in another way for each of the numbers 0, 1 and 2.

    A cache of labels does not know them, and a model that minds no capitals reads as many tokens as before.
    """
    return [label[:number] + label[number:].upper() for label in labels]

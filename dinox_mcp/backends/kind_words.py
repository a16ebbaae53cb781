"""The words for the kinds of objects of COCO, which `kinds` reads.

Words are in the singular, separated by commas. Spaces and hyphens do not matter: "suitcase" stands for "suit case".
"""

_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
KINDS: tuple[str, ...] = tuple(_NAMES.split(", "))
"""The names of the kinds, in COCO's order, which is the order of the model's outputs."""

SAME: dict[str, str] = {
    "person": "human, human being, human figure, human body, individual, someone, somebody, everyone, everybody, "
    "anyone, anybody, folk, crowd",
    "bicycle": "bike, cycle, push bike, pedal cycle, pedal bike",
    "car": "automobile, motor car, auto, passenger car",
    "motorcycle": "motorbike",
    "airplane": "aeroplane, plane, aircraft",
    "bus": "autobus, omnibus",
    "train": "railway train, railroad train",
    "truck": "lorry, motor truck",
    "boat": "watercraft, vessel, water vessel",
    "traffic light": "traffic signal, traffic lamp, stoplight",
    "fire hydrant": "hydrant, fireplug",
    "bird": "birdie, fowl",
    "cat": "kitty, kitty cat, feline, house cat, domestic cat, pussycat",
    "dog": "doggy, doggo, canine, hound, pooch, domestic dog",
    "horse": "steed, equine",
    "cow": "cattle, bovine",
    "backpack": "rucksack, knapsack",
    "umbrella": "brolly",
    "handbag": "purse, pocketbook",
    "tie": "necktie",
    "frisbee": "flying disc, flying disk",
    "skis": "snow ski",
    "sports ball": "ball, sport ball",
    "baseball bat": "bat",
    "baseball glove": "baseball mitt, catcher mitt, catcher glove, fielder glove",
    "tennis racket": "tennis racquet, racket, racquet",
    "wine glass": "glass of wine, glasses of wine",
    "cup": "drinking cup",
    "sandwich": "sarnie",
    "broccoli": "brocoli, broccolli, head of broccoli, broccoli floret",
    "hot dog": "frankfurter",
    "pizza": "pizza pie, pizza slice",
    "donut": "doughnut",
    "cake": "gateau, cake slice",
    "couch": "sofa, settee",
    "potted plant": "plant, pot plant, houseplant, indoor plant",
    "dining table": "table, dinner table, dining room table",
    "toilet": "lavatory, loo, water closet, wc, commode",
    "tv": "television, telly, tv set, television set, tv screen, television screen, monitor, computer monitor, "
    "computer screen, computer display, flat screen, tv monitor",
    "laptop": "laptop computer, notebook computer, notebook pc",
    "mouse": "computer mouse, pc mouse",
    "remote": "remote control, remote controller, tv remote, television remote, tv remote control, "
    "television remote control, clicker",
    "keyboard": "computer keyboard, pc keyboard",
    "cell phone": "cellular phone, mobile, mobile phone, mobile telephone, phone, telephone, handphone",
    "microwave": "microwave oven",
    "oven": "stove, cooker, oven range",
    "sink": "basin, washbasin, hand basin, washbowl",
    "refrigerator": "fridge, icebox, fridge freezer",
    "vase": "flower vase",
    "teddy bear": "teddy, stuffed bear, toy bear, plush bear, plush teddy bear, stuffed animal, stuffed toy, "
    "plushie, plush toy, cuddly toy, soft toy",
    "hair drier": "hair dryer, blow dryer, blow drier",
}

# These mean less than what is found for them: "man" finds every person.
NARROWER: dict[str, str] = {
    "person": "man, woman, male, female, boy, girl, lad, guy, gal, dude, bloke, chap, gentleman, lady, child, kid, "
    "baby, toddler, infant, newborn, teen, teenager, youth, youngster, adolescent, adult, grown up, elder, senior, "
    "pensioner, schoolboy, schoolgirl, schoolchild, grandchild, couple, family, parent, mother, mum, mom, mummy, "
    "mommy, father, dad, daddy, grandmother, grandma, granny, grandfather, grandpa, grandparent, brother, sister, "
    "sibling, son, daughter, wife, housewife, husband, uncle, aunt, cousin, twin, friend, neighbor, neighbour, "
    "pedestrian, passer by, passers by, bystander, onlooker, dog walker, hiker, jogger, runner, sprinter, swimmer, "
    "diver, climber, surfer, skier, snowboarder, skateboarder, skater, cyclist, bicyclist, biker, motorcyclist, "
    "rider, horseman, horsewoman, jockey, driver, pilot, sailor, fisherman, passenger, commuter, traveler, "
    "traveller, tourist, visitor, guest, customer, shopper, client, buyer, seller, vendor, cashier, clerk, "
    "shopkeeper, salesman, saleswoman, salesperson, receptionist, businessman, businesswoman, businessperson, "
    "worker, workman, workwoman, employee, staff, crew, crewman, colleague, coworker, boss, manager, supervisor, "
    "foreman, chairman, chairperson, engineer, mechanic, electrician, plumber, welder, carpenter, operator, "
    "technician, builder, farmer, gardener, shepherd, cowboy, cowgirl, scientist, researcher, teacher, student, "
    "pupil, professor, lecturer, presenter, audience, spectator, supporter, team, teammate, player, footballer, "
    "cricketer, golfer, athlete, gymnast, sportsman, sportswoman, sportsperson, batsman, catcher, goalkeeper, "
    "goalie, referee, umpire, dancer, ballerina, singer, musician, guitarist, drummer, pianist, violinist, artist, "
    "painter, actor, actress, performer, photographer, cameraman, journalist, reporter, bride, groom, bridesmaid, "
    "soldier, fireman, firefighter, paramedic, policeman, policewoman, police, officer, cop, security guard, "
    "bodyguard, lifeguard, crossing guard, mailman, postman, milkman, deliveryman, doctor, nurse, surgeon, dentist, "
    "patient, chef, cook, baker, butcher, barber, hairdresser, waiter, waitress, waitstaff, bartender, barista, "
    "barman, king, queen, prince, princess, priest, monk, nun, clown, resident, citizen, civilian, protester, "
    "protestor, demonstrator, beggar, homeless, thief, burglar, intruder, robber, suspect, trespasser, owner, user, "
    "member, stranger",
    "bicycle": "bmx, tandem, ebike",
    "car": "taxi, cab, taxicab, suv, sport utility vehicle, jeep, sedan, hatchback, coupe, convertible, cabriolet, "
    "roadster, limousine, limo, racecar, sportscar, station wagon, minivan, people carrier, passenger vehicle, "
    "police cruiser",
    "car, truck": "van, pickup, pickup truck, ambulance",
    "car, truck, bus": "camper, camper van, motorhome, recreational vehicle, rv",
    "motorcycle": "moped, scooter, vespa, dirt bike, motocross bike, motorized bike, harley",
    "airplane": "jet, airliner, jetliner, biplane, seaplane, floatplane, warplane",
    "bus": "minibus, double decker, motor coach, trolleybus",
    "train": "locomotive, train engine, railway engine, steam engine, tram, tramcar, streetcar, trolley car, subway, "
    "metro, monorail, train car, rail car, railway car, railroad car, train carriage, railway carriage, train wagon, "
    "railway wagon",
    "truck": "fire engine, tractor trailer, semi, semi trailer, 18 wheeler, eighteen wheeler, big rig, hgv, tipper, "
    "dumper, flatbed",
    "boat": "ship, sailboat, yacht, canoe, kayak, ferry, dinghy, raft, rowboat, motorboat, speedboat, powerboat, "
    "houseboat, lifeboat, tugboat, steamboat, ferryboat, battleship, warship, steamship, barge, gondola, catamaran, "
    "trawler, cabin cruiser, ocean liner, oil tanker",
    "bench": "pew",
    "bird": "duck, duckling, goose, gosling, swan, pigeon, dove, seagull, gull, chicken, hen, rooster, cockerel, "
    "chick, poultry, crow, raven, magpie, eagle, hawk, falcon, buzzard, vulture, owl, parrot, parakeet, budgie, "
    "budgerigar, cockatoo, macaw, canary, sparrow, robin, finch, wren, starling, blackbird, bluebird, songbird, "
    "hummingbird, woodpecker, kingfisher, penguin, puffin, flamingo, peacock, peahen, turkey, pheasant, quail, "
    "ostrich, pelican, heron, egret, stork, ibis, toucan, cormorant, albatross, waterfowl, mallard, seabird, "
    "bird of prey",
    "cat": "kitten, tomcat, tabby, siamese, maine coon, ginger tom",
    "dog": "puppy, pup, labrador, retriever, poodle, bulldog, beagle, chihuahua, dachshund, german shepherd, "
    "alsatian, husky, corgi, terrier, pug, rottweiler, doberman, spaniel, irish setter, english setter, collie, "
    "dalmatian, greyhound, mastiff, great dane, saint bernard, st bernard, pomeranian, schnauzer, shih tzu, "
    "pit bull, sheepdog, lapdog, sled dog",
    "horse": "pony, foal, mare, stallion, gelding, colt, filly, racehorse",
    "sheep": "lamb, ewe, ram",
    "cow": "bull, calf, ox, heifer, bullock",
    "elephant": "elephant calf",
    "bear": "grizzly, panda, cub",
    "zebra": "zebra foal",
    "giraffe": "giraffe calf",
    "backpack": "schoolbag, book bag, daypack, hiking pack",
    "umbrella": "parasol, sunshade",
    "handbag": "clutch bag, tote, tote bag, shopping bag, shoulder bag, evening bag",
    "handbag, backpack": "satchel, messenger bag",
    "handbag, suitcase": "briefcase, attache case",
    "suitcase, backpack, handbag": "carry on, carry on bag, carry on luggage, holdall, duffel, duffle",
    "suitcase": "trolley case, travel case, trolley bag",
    "tie": "bow tie, cravat",
    "sports ball": "football, soccer ball, basketball, baseball, softball, volleyball, golf ball, handball",
    "skateboard": "longboard, penny board",
    "surfboard": "bodyboard, boogie board, paddleboard",
    "bottle": "thermos, flask, decanter, carafe",
    "wine glass": "goblet, champagne glass, champagne flute, flute glass, glass of champagne",
    "wine glass, cup": "cocktail glass, martini glass, beer glass, pint glass, water glass, shot glass, "
    "whisky glass, whiskey glass, juice glass, tall glass",
    "cup": "mug, teacup, tumbler, beaker",
    "knife": "dagger, cleaver, penknife, jackknife",
    "spoon": "teaspoon, tablespoon, ladle",
    "sandwich": "burger, hamburger, cheeseburger, blt, panini, toastie, hoagie",
    "orange": "tangerine, clementine, mandarin, satsuma, citrus, citrus fruit, orange slice",
    "apple": "apple slice",
    "carrot": "root vegetable",
    "hot dog": "corn dog, chili dog, chilli dog",
    "cake": "cheesecake, cupcake, muffin, shortcake, fruitcake",
    "chair": "armchair, stool, barstool, footstool, highchair, wheelchair, deckchair, recliner",
    "couch": "loveseat, futon, divan, chesterfield, chaise longue, chaise lounge",
    "couch, bed": "sofa bed, daybed",
    "potted plant, vase": "flowerpot, plant pot, planter",
    "bed": "crib, cot, bunk, bassinet, mattress",
    "dining table": "desk",
    "toilet": "urinal, toilet bowl",
    "tv": "tv display",
    "laptop": "macbook, chromebook, ultrabook, netbook, laptop screen",
    "laptop, cell phone, tv": "ipad, tablet computer, tablet pc",
    "laptop, book": "notebook",
    "remote": "game controller, gamepad, wii controller, wiimote",
    "cell phone": "iphone, smartphone, phone screen",
    "cell phone, laptop": "mobile device, portable device",
    "oven": "stovetop, hob, cooktop",
    "oven, toaster": "toaster oven",
    "refrigerator": "freezer",
    "book": "paperback, hardback, hardcover, novel, textbook, schoolbook, cookbook, storybook, comic, diary, "
    "dictionary, encyclopedia, bible",
    "clock": "timepiece",
    "scissors": "shears",
    "truck, bus": "heavy vehicle, heavy goods vehicle, large goods vehicle",
}

# These mean several kinds, and often other things that the model does not know.
WIDER: dict[str, str] = {
    "bicycle, car, motorcycle, airplane, bus, train, truck, boat": "vehicle, means of transport, mode of transport, "
    "means of transportation, mode of transportation",
    "car, motorcycle, bus, truck": "motor vehicle",
    "bicycle, car, motorcycle, bus, truck": "road vehicle, land vehicle, road traffic, traffic",
    "bicycle, motorcycle": "two wheeler, 2 wheeler",
    "car, truck": "four wheeler, 4 wheeler",
    "bus, train": "public transport, public transportation, mass transit",
    "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe": "animal, creature, beast, fauna",
    "cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe": "mammal, quadruped",
    "cat, dog": "pet, house pet",
    "horse, sheep, cow": "livestock, farm animal, barnyard animal",
    "bird, elephant, bear, zebra, giraffe": "wild animal, wildlife",
    "elephant, bear, zebra, giraffe": "zoo animal, safari animal",
    "banana, apple, orange": "fruit",
    "broccoli, carrot": "vegetable, veggie, veg",
    "banana, apple, orange, broccoli, carrot": "fruit and vegetable, produce",
    "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake": "food, foodstuff, snack, "
    "food item",
    "sandwich, hot dog, pizza, donut": "fast food, junk food",
    "donut, cake": "dessert",
    "chair, couch, bed, dining table, bench": "furniture, furnishing",
    "chair, couch, bench": "seat, seating",
    "traffic light, fire hydrant, stop sign, parking meter, bench": "street furniture",
    "fork, knife, spoon": "cutlery, silverware, flatware, utensil, eating utensil",
    "wine glass, cup, fork, knife, spoon, bowl": "tableware, dinnerware, kitchenware",
    "wine glass, cup, bowl": "dish, crockery",
    "wine glass, cup": "glass, drinkware, drinking glass, glassware, drinking vessel",
    "microwave, oven, toaster, refrigerator": "kitchen appliance",
    "microwave, oven, toaster, refrigerator, hair drier, tv": "appliance, home appliance, household appliance, "
    "electrical appliance, white goods",
    "tv, laptop, mouse, remote, keyboard, cell phone": "electronics, electronic device, gadget, device, "
    "electronic equipment, consumer electronics",
    "tv, laptop": "computer, pc, personal computer",
    "tv, laptop, cell phone": "screen",
    "mouse, keyboard": "input device, computer peripheral, computer accessory",
    "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket": (
        "sports equipment, sport equipment, sporting equipment, sports gear, sporting goods, sports goods, sports item"
    ),
    "sports ball, baseball bat, baseball glove": "baseball equipment, baseball gear",
    "skis, snowboard": "winter sports equipment, ski equipment",
    "handbag, backpack, suitcase": "bag, luggage, baggage",
}

# These end like a word above, but are another thing. Things that do not end like one need not be listed.
OTHER_THINGS = (
    # That stand for an object without being one.
    "snowman, gingerbread man, stick man, lego man, balloon animal, rubber duck, paper plane, paper airplane, "
    "rocking horse, hobby horse, gummy bear, mickey mouse, "
    # That are named like a person, an animal or a fruit.
    "screwdriver, battering ram, ladybird, record player, cd player, dvd player, music player, mp3 player, "
    "media player, table runner, dreamcatcher, sea horse, sawhorse, pommel horse, clothes horse, trojan horse, "
    "prairie dog, sea dog, raccoon dog, bobcat, wildcat, big cat, polecat, sea cow, koala bear, water bear, "
    "field mouse, house mouse, fruit bat, vampire bat, lion cub, tiger cub, fox cub, wolf cub, whale calf, red bull, "
    "pine apple, custard apple, adam apple, dragon fruit, passion fruit, grapefruit, star fruit, jackfruit, "
    "breadfruit, kiwi fruit, fried chicken, roast chicken, grilled chicken, rotisserie chicken, roast duck, "
    "peking duck, roast turkey, "
    # That are parts or fittings.
    "car seat, baby seat, child seat, booster seat, passenger seat, driver seat, bike seat, bicycle seat, "
    "motorcycle seat, toilet seat, truck bed, truck cab, bike fork, bicycle fork, heat sink, "
    # Beds, basins and plants of another sort.
    "flower bed, river bed, sea bed, lake bed, garden bed, raised bed, road bed, seed bed, nail bed, river basin, "
    "power plant, egg plant, industrial plant, chemical plant, treatment plant, assembly plant, manufacturing plant, "
    "processing plant, nuclear plant, recycling plant, steel plant, cement plant, toadstool, "
    # Vehicles of another sort.
    "cable car, sidecar, hand truck, pallet truck, forklift truck, lift truck, reach truck, stacker truck, "
    "exercise bike, stationary bike, quad bike, kick scooter, push scooter, mobility scooter, jet ski, spaceship, "
    "airship, rocket ship, starship, gravy boat, blood vessel, space vehicle, aerial vehicle, inkjet, air traffic, "
    "foot traffic, web traffic, life cycle, water cycle, "
    # Things of the house and the street.
    "meatball, crystal ball, disco ball, mirror ball, eyeball, snowball, fireball, cannonball, cotton ball, "
    "rice ball, gumball, wrecking ball, christmas ball, pancake, rice cake, fish cake, crab cake, dutch oven, "
    "rice cooker, pressure cooker, slow cooker, hot water bottle, gas bottle, world cup, suction cup, fish bowl, "
    "super bowl, pitchfork, tuning fork, hay fork, garden fork, forklift, stained glass, magnifying glass, hourglass, "
    "looking glass, broken glass, window glass, eyeglass, spyglass, sea glass, fiberglass, fibreglass, spectacle, "
    "satellite dish, petri dish, soap dish, plastic bag, paper bag, trash bag, garbage bag, bin bag, rubbish bag, "
    "tea bag, bean bag, airbag, sleeping bag, punching bag, sandwich bag, zip lock bag, zip tie, cable tie, hair tie, "
    "railroad tie, twist tie, dog food, cat food, pet food, bird food, fish food, animal food, turntable, timetable, "
    "periodic table, multiplication table, water table, data table, pivot table, league table, workbench, test bench, "
    "lab bench, checkbook, chequebook, matchbook, facebook, ebook, bus stop sign, "
    # Machines.
    "headphone, earphone, microphone, payphone, gramophone, megaphone, baby monitor, heart monitor, "
    "blood pressure monitor, piano keyboard, musical keyboard, music keyboard, desktop computer, supercomputer, "
    "sunscreen, windscreen, silk screen, projector screen, projection screen, fly screen, privacy screen, "
    "folding screen, shower screen, medical device, safety device, security device, measuring device"
)

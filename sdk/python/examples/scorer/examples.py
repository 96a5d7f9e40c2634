"""The texts that a new scorer knows."""

SPAM = [
    "Congratulations! You have won a free prize, click here to claim it http://prize.example",
    "FREE casino bonus!!! Play now and win big money",
    "Cheap pills without prescription, order now http://pills.example",
    "Earn $5000 a week working from home, no experience needed",
    "Hot singles in your area want to meet you, click this link",
    "Double your bitcoin today, send to this wallet and get twice the money back",
    "Limited offer: buy followers and likes, best price guaranteed http://likes.example",
    "URGENT: your account is suspended, verify your password here http://bank.example",
    "Get rich quick with this secret crypto investment, guaranteed profit",
    "Act now! 90% discount on luxury watches, limited time offer",
    "You are the lucky winner of a gift card, claim your reward now",
    "Lose weight fast with this one weird trick, order your free trial",
    "Work from home and make money online, click here for free access",
    "Lowest price loans, no credit check, apply now http://loans.example http://cash.example",
]

HAM = [
    "Hello everyone, how are you today?",
    "Has anyone tried the new release? It works fine for me",
    "I will be there at noon, see you then",
    "Thanks for the help, that fixed the problem",
    "Can you send me the link to the documentation please?",
    "The meeting is at three, in the small room",
    "I think the test fails because of the time zone",
    "Good morning! Coffee or tea?",
    "What do you want to have for lunch?",
    "The train is late again, please start without me",
    "Nice work, I like the new page",
    "Does the free version have that, or do I have to buy it?",
    "Where can I find the price list of last year?",
    "It rained all day, so we stayed at home and played cards",
    "My daughter won a prize at school today",
    "Let me check the account and call you back",
]

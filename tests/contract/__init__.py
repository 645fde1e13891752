"""Oracle's own SDK as the referee between the store and the emulator."""

! Penstock for solvers in Fortran: put and get arrays, announce snapshots, run the database's models, wait.
!
!   use penstock
!   type(penstock_client) :: client
!   call client%connect()                                             ! address: environment
!   do while (.not. client%stop_requested())
!     call client%put_snapshot(step, "u", u, "p", p, time=t)
!     call client%infer("closure", u, stress)
!   end do
!   call client%end_stream()
!   call client%close()
!
! Arrays. Any rank from 0 (a single number, in the database an array of one) to 15, of real32, real64, int8,
! int16, int32, int64, complex with real32 or real64, logical(c_bool). Sections, pointers and allocatables go
! as they are, without a copy by the compiler.
!
! Order. Readers in C and Python see a(i, j) as [i][j], as from SmartRedis: each reads what the other writes.
! Fortran's memory is in the other order, so arrays of rank 2 and more are transposed on their way, piece by
! piece in a buffer. With reversed=.true. they go as they lie, which costs nothing, and readers see [j][i]. Who
! gets an array back must say the same.
!
! Errors. Every procedure has stat and errmsg. stat is 0 or one of the numbers below, errmsg then has the
! text; without stat an error stops the program with that text. An array of characters is refused on standard
! error and by stat alone: with gfortran errmsg is not to be trusted there.
!
! Times are in seconds. A client is used by one thread at a time, is not to be copied, and ends by close().

module penstock
  use, intrinsic :: iso_c_binding, only: c_associated, c_bool, c_char, c_double, c_f_pointer, c_int, &
    c_int64_t, c_loc, c_null_char, c_null_ptr, c_ptr, c_size_t
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use penstock_c
  implicit none
  private

  ! What went wrong; penstock.h says it of each. One more than there: PENSTOCK_NOT_CONNECTED.
  integer, parameter, public :: penstock_ok = 0, penstock_invalid = 1, penstock_address = 2, &
    penstock_identity = 3, penstock_unavailable = 4, penstock_full = 5, penstock_refused = 6, &
    penstock_name = 7, penstock_tensor = 8, penstock_snapshot = 9, penstock_incomplete = 10, &
    penstock_key_missing = 11, penstock_model_missing = 12, penstock_model_rejected = 13, &
    penstock_inference = 14, penstock_timed_out = 15, penstock_memory = 16, penstock_interrupted = 17, &
    penstock_stream_full = 18, penstock_dropped = 19, penstock_not_connected = 100

  ! What happens to a snapshot that finds no room in its stream, and what became of the last one that was put.
  integer, parameter, public :: penstock_block = 0, penstock_drop_oldest = 1, penstock_drop_newest = 2, &
    penstock_thin = 3, penstock_spill = 4
  integer, parameter, public :: penstock_stored = 0, penstock_skipped = 1, penstock_spilled = 2

  integer, parameter :: max_rank = 64
  character(len=*), parameter :: default_stream = "snapshots"

  type, public :: penstock_client
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: connect, close, is_connected, c_handle, set_identity, set_timeout
    procedure :: producer => producer_of, rank => rank_of
    procedure :: put_tensor, get_tensor, tensor_shape, tensor_exists, delete_tensor
    generic :: get_tensor_new => new_real64, new_real32, new_int64, new_int32, new_int16, &
      new_int8, new_complex64, new_complex32, new_bool
    procedure :: lease, map_tensor, transport
    procedure :: put_snapshot, get_snapshot, announced, end_stream, stream_ended
    procedure :: bound_stream, stream_fill, subscribe, acknowledge, unsubscribe, last_outcome
    procedure :: describe_field, field_info, contract => contract_of, forget_stream
    procedure :: raise_flag, flag_raised, request_stop, stop_requested
    procedure :: put_model, put_model_file, get_model, model_version, promote_model, report_error
    procedure :: infer, infer_versioned
    procedure :: wait_tensor, wait_dataset, wait_flag, wait_list, wait_model
    procedure :: flush => flush_queue, set_queue
    procedure, private :: new_real64, new_real32, new_int64, new_int32, new_int16, &
      new_int8, new_complex64, new_complex32, new_bool
  end type

  ! An array in shared memory, or in ordinary memory where there is none, as it lies: what it is put and read
  ! with is reversed=.true. It holds until end(), also after its client, and is not to be copied.
  type, public :: penstock_view
    private
    type(c_ptr) :: handle = c_null_ptr
  contains
    procedure :: address, layout, end => end_view
  end type

contains

  ! ---- Life

  ! address: "host:port[,host:port...]" or "unix://path"; that of the environment by default.
  ! timeout: s to reach a server, now and later; 5 by default.
  subroutine connect(self, address, timeout, stat, errmsg)
    class(penstock_client), intent(inout) :: self
    character(len=*), intent(in), optional :: address
    real(real64), intent(in), optional :: timeout
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    character(kind=c_char, len=:), allocatable, target :: text
    type(c_ptr) :: where
    real(c_double) :: seconds
    call self%close(stat, errmsg)
    if (present(stat)) then
      if (stat /= penstock_ok) return
    end if
    where = c_null_ptr
    if (present(address)) then
      text = c_text(address)
      where = c_loc(text)
    end if
    seconds = 0
    if (present(timeout)) seconds = timeout
    call settle(self, penstock_connect(where, seconds, self%handle), stat, errmsg)
  end subroutine

  ! Send what is queued, and leave. Harmless where there is no connection. An error says what did not arrive.
  subroutine close(self, stat, errmsg)
    class(penstock_client), intent(inout) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int) :: status
    status = penstock_close(self%handle)
    self%handle = c_null_ptr
    call settle(self, status, stat, errmsg)
  end subroutine

  function is_connected(self) result(yes)
    class(penstock_client), intent(in) :: self
    logical :: yes
    yes = c_associated(self%handle)
  end function

  ! The penstock_client* of C, null where there is no connection: for libraries that take one.
  function c_handle(self) result(handle)
    class(penstock_client), intent(in) :: self
    type(c_ptr) :: handle
    handle = self%handle
  end function

  ! Announce snapshots under another name or rank than the environment's.
  subroutine set_identity(self, producer, rank, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in), optional :: producer
    integer, intent(in), optional :: rank
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    character(kind=c_char, len=:), allocatable, target :: text
    type(c_ptr) :: named
    integer(c_int64_t) :: number
    if (closed(self, stat, errmsg)) return
    named = c_null_ptr
    if (present(producer)) then
      text = c_text(producer)
      named = c_loc(text)
    end if
    number = -1
    if (present(rank)) number = rank
    call settle(self, penstock_set_identity(self%handle, named, number), stat, errmsg)
  end subroutine

  ! The name that snapshots are announced under; "" where there is no connection.
  function producer_of(self) result(text)
    class(penstock_client), intent(in) :: self
    character(len=:), allocatable :: text
    text = ""
    if (self%is_connected()) text = fortran_text(penstock_producer(self%handle))
  end function

  ! The rank that snapshots are announced under; -1 where there is no connection.
  function rank_of(self) result(number)
    class(penstock_client), intent(in) :: self
    integer :: number
    number = -1
    if (self%is_connected()) number = int(penstock_rank(self%handle))
  end function

  ! How long the database may take to answer one call; 600 s at first, for a model may run for minutes.
  subroutine set_timeout(self, seconds, stat, errmsg)
    class(penstock_client), intent(in) :: self
    real(real64), intent(in) :: seconds
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_set_timeout(self%handle, real(seconds, c_double)), stat, errmsg)
  end subroutine

  ! ---- Tensors

  ! async: copy the array into a queue and return at once; flush() waits until all of it is in the database.
  ! What went wrong there is told by the next such call, or by flush.
  subroutine put_tensor(self, name, array, reversed, async, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(in) :: array
    logical, intent(in), optional :: reversed, async
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (is_refused(name, array, stat)) return
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_put_tensor(self%handle, c_text(name), array, c_flag(reversed), c_flag(async)), &
                stat, errmsg)
  end subroutine

  ! Receive into an array of the tensor's type and shape.
  subroutine get_tensor(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(inout) :: array
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (is_refused(name, array, stat)) return
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_get_tensor(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  ! dims is allocated to the tensor's shape; dtype is its type as "float64".
  subroutine tensor_shape(self, name, dims, reversed, dtype, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int64), allocatable, intent(out) :: dims(:)
    logical, intent(in), optional :: reversed
    character(len=:), allocatable, intent(out), optional :: dtype
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: room(max_rank)
    integer(c_int) :: number, found, status
    allocate(dims(0))
    if (closed(self, stat, errmsg)) return
    status = psf_tensor_info(self%handle, c_text(name), c_flag(reversed), number, found, room)
    call settle(self, status, stat, errmsg)
    if (status /= penstock_ok) return
    dims = room(:found)
    if (present(dtype)) dtype = fortran_text(penstock_dtype_name(number))
  end subroutine

  function tensor_exists(self, name, stat, errmsg) result(exists)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: exists
    integer(c_int) :: answer
    exists = .false.
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_tensor_exists(self%handle, c_text(name), answer), stat, errmsg)
    exists = answer /= 0
  end function

  ! No error where there is none.
  subroutine delete_tensor(self, name, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_delete_tensor(self%handle, c_text(name)), stat, errmsg)
  end subroutine

  ! ---- Shared memory: penstock.h has its rules

  ! "shared memory", "unix" or "tcp".
  function transport(self) result(text)
    class(penstock_client), intent(in) :: self
    character(len=:), allocatable :: text
    text = ""
    if (c_associated(self%handle)) text = fortran_text(penstock_transport(self%handle))
  end function

  ! Room for an array of this shape that is to be put. Compute into it, by
  !   call c_f_pointer(view%address(), u, [nx, ny])
  ! then put u with reversed=.true., whole: it is not copied, and must not be written afterwards.
  ! dtype: as "float64".
  subroutine lease(self, view, dtype, shape, stat, errmsg)
    class(penstock_client), intent(in) :: self
    type(penstock_view), intent(inout) :: view
    character(len=*), intent(in) :: dtype
    integer, intent(in) :: shape(:)
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: dims(size(shape))
    integer :: i
    call view%end()
    if (closed(self, stat, errmsg)) return
    do i = 1, size(shape)
      dims(i) = shape(size(shape) + 1 - i)
    end do
    call settle(self, psf_lease(self%handle, c_text(dtype), int(size(shape), c_int), dims, view%handle), &
                stat, errmsg)
  end subroutine

  ! A tensor where it lies, which must not be written: view%layout() says what it is.
  subroutine map_tensor(self, view, name, stat, errmsg)
    class(penstock_client), intent(in) :: self
    type(penstock_view), intent(inout) :: view
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    call view%end()
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_map_tensor(self%handle, c_text(name), view%handle), stat, errmsg)
  end subroutine

  ! For c_f_pointer, with the shape of lease or layout. c_null_ptr where it holds nothing.
  function address(self) result(where)
    class(penstock_view), intent(in) :: self
    type(c_ptr) :: where
    where = c_null_ptr
    if (c_associated(self%handle)) where = psf_view_data(self%handle)
  end function

  ! Its type as "float64", and its shape as the memory lies: (nx, ny) for a reader's [ny][nx].
  subroutine layout(self, dtype, shape)
    class(penstock_view), intent(in) :: self
    character(len=:), allocatable, intent(out) :: dtype
    integer, allocatable, intent(out) :: shape(:)
    integer(c_int64_t) :: dims(max_rank)
    integer(c_int) :: number, rank
    integer :: i
    dtype = ""
    allocate(shape(0))
    if (.not. c_associated(self%handle)) return
    call psf_view_layout(self%handle, number, rank, dims)
    dtype = fortran_text(penstock_dtype_name(number))
    shape = [(int(dims(i)), i = rank, 1, -1)]
  end subroutine

  ! Give it back. Harmless where it holds nothing.
  subroutine end_view(self)
    class(penstock_view), intent(inout) :: self
    call penstock_unmap(self%handle)
    self%handle = c_null_ptr
  end subroutine

  ! ---- Snapshots: the fields of one rank at one step

  ! Store up to 16 fields and announce them. Nobody sees the snapshot before all of its fields are there.
  ! Every snapshot of a stream has the same names, types, shapes and descriptions, and a greater step than the one
  ! before it of its rank.
  ! time: physical, s. stream: "snapshots" by default. async: see put_tensor.
  subroutine put_snapshot(self, step, &
      name1, field1, name2, field2, name3, field3, name4, field4, name5, field5, name6, field6, &
      name7, field7, name8, field8, name9, field9, name10, field10, name11, field11, &
      name12, field12, name13, field13, name14, field14, name15, field15, name16, field16, &
      time, stream, reversed, async, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(in) :: step
    character(len=*), intent(in) :: name1
    type(*), dimension(..), intent(in) :: field1
    character(len=*), intent(in), optional :: name2, name3, name4, name5, name6, name7, name8, name9, &
      name10, name11, name12, name13, name14, name15, name16
    type(*), dimension(..), intent(in), optional :: field2, field3, field4, field5, field6, field7, &
      field8, field9, field10, field11, field12, field13, field14, field15, field16
    real(real64), intent(in), optional :: time
    character(len=*), intent(in), optional :: stream
    logical, intent(in), optional :: reversed, async
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(c_ptr) :: fields
    if (is_refused(name1, field1, stat)) return
    if (is_refused(name2, field2, stat)) return
    if (is_refused(name3, field3, stat)) return
    if (is_refused(name4, field4, stat)) return
    if (is_refused(name5, field5, stat)) return
    if (is_refused(name6, field6, stat)) return
    if (is_refused(name7, field7, stat)) return
    if (is_refused(name8, field8, stat)) return
    if (is_refused(name9, field9, stat)) return
    if (is_refused(name10, field10, stat)) return
    if (is_refused(name11, field11, stat)) return
    if (is_refused(name12, field12, stat)) return
    if (is_refused(name13, field13, stat)) return
    if (is_refused(name14, field14, stat)) return
    if (is_refused(name15, field15, stat)) return
    if (is_refused(name16, field16, stat)) return
    if (closed(self, stat, errmsg)) return
    fields = psf_fields_new()
    call add_pair(fields, reversed, name1, field1)
    call add_pair(fields, reversed, name2, field2)
    call add_pair(fields, reversed, name3, field3)
    call add_pair(fields, reversed, name4, field4)
    call add_pair(fields, reversed, name5, field5)
    call add_pair(fields, reversed, name6, field6)
    call add_pair(fields, reversed, name7, field7)
    call add_pair(fields, reversed, name8, field8)
    call add_pair(fields, reversed, name9, field9)
    call add_pair(fields, reversed, name10, field10)
    call add_pair(fields, reversed, name11, field11)
    call add_pair(fields, reversed, name12, field12)
    call add_pair(fields, reversed, name13, field13)
    call add_pair(fields, reversed, name14, field14)
    call add_pair(fields, reversed, name15, field15)
    call add_pair(fields, reversed, name16, field16)
    call settle(self, psf_put_snapshot(self%handle, c_stream(stream), int(step, c_int64_t), c_time(time), &
                                       fields, c_flag(async)), stat, errmsg)
  end subroutine

  ! Fill up to 16 arrays with fields of the snapshot at a position of the stream, 0 being the first. Each has
  ! the type and shape of its field; sections and both orders are filled as they are, without a copy of the whole.
  ! time: NaN where the solver gave none.
  subroutine get_snapshot(self, position, &
      name1, field1, name2, field2, name3, field3, name4, field4, name5, field5, name6, field6, &
      name7, field7, name8, field8, name9, field9, name10, field10, name11, field11, &
      name12, field12, name13, field13, name14, field14, name15, field15, name16, field16, &
      producer, rank, step, time, stream, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(in) :: position
    character(len=*), intent(in) :: name1
    type(*), dimension(..), intent(inout) :: field1
    character(len=*), intent(in), optional :: name2, name3, name4, name5, name6, name7, name8, name9, &
      name10, name11, name12, name13, name14, name15, name16
    type(*), dimension(..), intent(inout), optional :: field2, field3, field4, field5, field6, field7, &
      field8, field9, field10, field11, field12, field13, field14, field15, field16
    character(len=:), allocatable, intent(out), optional :: producer
    integer, intent(out), optional :: rank, step
    real(real64), intent(out), optional :: time
    character(len=*), intent(in), optional :: stream
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(penstock_snapshot_c) :: about
    type(c_ptr) :: fields
    integer(c_int) :: status
    if (is_refused(name1, field1, stat)) return
    if (is_refused(name2, field2, stat)) return
    if (is_refused(name3, field3, stat)) return
    if (is_refused(name4, field4, stat)) return
    if (is_refused(name5, field5, stat)) return
    if (is_refused(name6, field6, stat)) return
    if (is_refused(name7, field7, stat)) return
    if (is_refused(name8, field8, stat)) return
    if (is_refused(name9, field9, stat)) return
    if (is_refused(name10, field10, stat)) return
    if (is_refused(name11, field11, stat)) return
    if (is_refused(name12, field12, stat)) return
    if (is_refused(name13, field13, stat)) return
    if (is_refused(name14, field14, stat)) return
    if (is_refused(name15, field15, stat)) return
    if (is_refused(name16, field16, stat)) return
    if (closed(self, stat, errmsg)) return
    fields = psf_fields_new()
    call add_pair(fields, reversed, name1, field1)
    call add_pair(fields, reversed, name2, field2)
    call add_pair(fields, reversed, name3, field3)
    call add_pair(fields, reversed, name4, field4)
    call add_pair(fields, reversed, name5, field5)
    call add_pair(fields, reversed, name6, field6)
    call add_pair(fields, reversed, name7, field7)
    call add_pair(fields, reversed, name8, field8)
    call add_pair(fields, reversed, name9, field9)
    call add_pair(fields, reversed, name10, field10)
    call add_pair(fields, reversed, name11, field11)
    call add_pair(fields, reversed, name12, field12)
    call add_pair(fields, reversed, name13, field13)
    call add_pair(fields, reversed, name14, field14)
    call add_pair(fields, reversed, name15, field15)
    call add_pair(fields, reversed, name16, field16)
    status = psf_get_snapshot(self%handle, c_stream(stream), int(position, c_int64_t), fields, about)
    call settle(self, status, stat, errmsg)
    if (status /= penstock_ok) return
    if (present(producer)) producer = fortran_text(about%producer)
    if (present(rank)) rank = int(about%rank)
    if (present(step)) step = int(about%step)
    if (present(time)) time = about%time
  end subroutine

  ! Tell what is known of a field of a stream, once: it goes with every snapshot that is put from then on.
  ! units: "K"; dims: the names of the dimensions between blanks, "x y". shape: of the global array, of which this
  ! rank has the block that begins behind so many cells of each dimension: offset, from 0. All in the order of the
  ! array's dimensions; reversed: as put_snapshot is told.
  subroutine describe_field(self, name, units, dims, shape, offset, stream, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    character(len=*), intent(in), optional :: units, dims
    integer, intent(in), optional :: shape(:), offset(:)
    character(len=*), intent(in), optional :: stream
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    character(kind=c_char, len=:), allocatable :: unit_text, dim_text
    integer(c_int64_t), allocatable :: whole(:), start(:)
    if (closed(self, stat, errmsg)) return
    unit_text = c_text("")
    dim_text = c_text("")
    allocate(whole(0), start(0))
    if (present(units)) unit_text = c_text(units)
    if (present(dims)) dim_text = c_text(dims)
    if (present(shape)) whole = int(shape, c_int64_t)
    if (present(offset)) start = int(offset, c_int64_t)
    if (size(whole) /= size(start)) then
      call give(penstock_tensor, "tensor '" // name // "': shape and offset of a block are given together, with " // &
                "an entry for each dimension", stat, errmsg)
      return
    end if
    call settle(self, psf_describe_field(self%handle, c_stream(stream), c_text(name), unit_text, dim_text, &
                                         size(whole, kind=c_int), whole, start, c_flag(reversed)), stat, errmsg)
  end subroutine

  ! What a field of the snapshot at a position is: its shape, its type as "float64", and what its producer has told
  ! of it. Without units or dims these are ""; global_shape and offset have size 0 where it is no block.
  subroutine field_info(self, position, name, shape, dtype, units, dims, global_shape, offset, stream, reversed, &
      stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(in) :: position
    character(len=*), intent(in) :: name
    integer(int64), allocatable, intent(out), optional :: shape(:), global_shape(:), offset(:)
    character(len=:), allocatable, intent(out), optional :: dtype, units, dims
    character(len=*), intent(in), optional :: stream
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: room(max_rank), whole(max_rank), start(max_rank)
    integer(c_int) :: number, found, blocks, status
    type(c_ptr) :: unit_text, dim_text
    if (closed(self, stat, errmsg)) return
    status = psf_field_info(self%handle, c_stream(stream), int(position, c_int64_t), c_text(name), &
                            c_flag(reversed), number, found, room, blocks, whole, start, unit_text, dim_text)
    call settle(self, status, stat, errmsg)
    if (status /= penstock_ok) return
    if (present(shape)) shape = room(:found)
    if (present(dtype)) dtype = fortran_text(penstock_dtype_name(number))
    if (present(units)) units = fortran_text(unit_text)
    if (present(dims)) dims = fortran_text(dim_text)
    if (present(global_shape)) global_shape = whole(:merge(found, 0, blocks > 0))
    if (present(offset)) offset = start(:merge(found, 0, blocks > 0))
  end subroutine

  ! What all snapshots of the stream have: "since <snapshot>", then a line for each field; "" where nobody has put
  ! one.
  function contract_of(self, stream, stat, errmsg) result(text)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    character(len=:), allocatable :: text
    type(c_ptr) :: answer
    integer(c_int) :: status
    text = ""
    if (closed(self, stat, errmsg)) return
    answer = c_null_ptr
    status = penstock_contract(self%handle, c_stream(stream), answer)
    call settle(self, status, stat, errmsg)
    if (status == penstock_ok .and. c_associated(answer)) text = fortran_text(answer)
  end function

  ! Remove all that was put in a stream, so that it begins anew. Let those who put in it leave first.
  subroutine forget_stream(self, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_forget_stream(self%handle, c_stream(stream)), stat, errmsg)
  end subroutine

  ! How many snapshots have been announced, by all producers together.
  function announced(self, stream, stat, errmsg) result(count)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer :: count
    integer(c_int64_t) :: answer
    count = 0
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_announced(self%handle, c_stream(stream), answer), stat, errmsg)
    count = int(answer)
  end function

  ! Tell readers that this rank puts no more snapshots.
  subroutine end_stream(self, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_end_stream(self%handle, c_stream(stream)), stat, errmsg)
  end subroutine

  function stream_ended(self, producer, rank, stream, stat, errmsg) result(ended)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: producer
    integer, intent(in) :: rank
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: ended
    integer(c_int) :: answer
    ended = .false.
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_stream_ended(self%handle, c_stream(stream), c_text(producer), &
                                            int(rank, c_int64_t), answer), stat, errmsg)
    ended = answer /= 0
  end function

  ! ---- Bounds of streams; penstock.h says more of each

  ! How much of a stream is kept: items, bytes (of tensors) or both, and what happens to a snapshot that finds
  ! no room. keep_every belongs to penstock_thin, directory to penstock_spill; a put waits at most `wait` s.
  subroutine bound_stream(self, items, bytes, policy, keep_every, directory, wait, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(in), optional :: items, policy, keep_every
    integer(int64), intent(in), optional :: bytes
    character(len=*), intent(in), optional :: directory
    real(real64), intent(in), optional :: wait
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(penstock_bound_c) :: bound
    character(kind=c_char, len=:), allocatable, target :: place
    if (closed(self, stat, errmsg)) return
    if (present(items)) bound%items = int(items, c_int64_t)
    if (present(bytes)) bound%bytes = int(bytes, c_int64_t)
    if (present(policy)) bound%policy = int(policy, c_int)
    if (present(keep_every)) bound%keep_every = int(keep_every, c_int64_t)
    if (present(wait)) bound%wait = wait
    if (present(directory)) then
      place = c_text(directory)
      bound%directory = c_loc(place)
    end if
    call settle(self, penstock_bound_stream(self%handle, c_stream(stream), bound), stat, errmsg)
  end subroutine

  ! How full a stream is. level: 1 is full. acknowledged: by the slowest consumer, -1 where there is none.
  subroutine stream_fill(self, level, items, bytes, kept_from, dropped, skipped, spilled, waiting, &
      acknowledged, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    real(real64), intent(out), optional :: level
    integer(int64), intent(out), optional :: items, bytes, kept_from, dropped, skipped, spilled, waiting, &
      acknowledged
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(penstock_fill_c) :: fill
    integer(c_int) :: status
    if (closed(self, stat, errmsg)) return
    status = penstock_stream_fill(self%handle, c_stream(stream), fill)
    call settle(self, status, stat, errmsg)
    if (status /= penstock_ok) return
    if (present(level)) level = fill%level
    if (present(items)) items = fill%items
    if (present(bytes)) bytes = fill%bytes
    if (present(kept_from)) kept_from = fill%kept_from
    if (present(dropped)) dropped = fill%dropped
    if (present(skipped)) skipped = fill%skipped
    if (present(spilled)) spilled = fill%spilled
    if (present(waiting)) waiting = fill%waiting
    if (present(acknowledged)) acknowledged = fill%acknowledged
  end subroutine

  ! Become a consumer of a stream, or go on as one; the first position that it has not acknowledged.
  function subscribe(self, consumer, stream, stat, errmsg) result(position)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: consumer
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer :: position
    integer(c_int64_t) :: answer
    position = 0
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_subscribe(self%handle, c_stream(stream), c_text(consumer), answer), stat, &
                errmsg)
    position = int(answer)
  end function

  ! The positions before this one need not be kept for the consumer.
  subroutine acknowledge(self, position, consumer, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(in) :: position
    character(len=*), intent(in) :: consumer
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_acknowledge(self%handle, c_stream(stream), c_text(consumer), &
                                           int(position, c_int64_t)), stat, errmsg)
  end subroutine

  ! The consumer needs nothing any more.
  subroutine unsubscribe(self, consumer, stream, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: consumer
    character(len=*), intent(in), optional :: stream
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_unsubscribe(self%handle, c_stream(stream), c_text(consumer)), stat, errmsg)
  end subroutine

  ! What became of the last snapshot that was put: penstock_stored, penstock_skipped or penstock_spilled.
  function last_outcome(self) result(outcome)
    class(penstock_client), intent(in) :: self
    integer :: outcome
    outcome = penstock_stored
    if (self%is_connected()) outcome = int(penstock_last_outcome(self%handle))
  end function

  ! ---- Flags

  subroutine raise_flag(self, name, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_raise_flag(self%handle, c_text(name)), stat, errmsg)
  end subroutine

  function flag_raised(self, name, stat, errmsg) result(raised)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: raised
    integer(c_int) :: answer
    raised = .false.
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_flag_raised(self%handle, c_text(name), answer), stat, errmsg)
    raised = answer /= 0
  end function

  ! All programs of the database are asked to end when they are ready to.
  subroutine request_stop(self, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_request_stop(self%handle), stat, errmsg)
  end subroutine

  function stop_requested(self, stat, errmsg) result(requested)
    class(penstock_client), intent(in) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: requested
    integer(c_int) :: answer
    requested = .false.
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_stop_requested(self%handle, answer), stat, errmsg)
    requested = answer /= 0
  end function

  ! ---- Models

  ! Store an immutable version of a model and make it the live one; with promote=.false. it is stored only.
  ! model: a TorchScript archive; version: greater than the live one; device: "CPU" by default;
  ! about: what is known of it, an object in JSON (docs/models.md), for example '{"loss": 0.02}'.
  subroutine put_model(self, name, model, version, device, about, promote, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int8), intent(in), contiguous :: model(:)
    integer, intent(in) :: version
    character(len=*), intent(in), optional :: device, about
    logical, intent(in), optional :: promote
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    character(kind=c_char, len=:), allocatable, target :: device_text, about_text
    type(c_ptr) :: on, known
    integer(c_int) :: live
    if (closed(self, stat, errmsg)) return
    on = c_null_ptr
    if (present(device)) then
      device_text = c_text(device)
      on = c_loc(device_text)
    end if
    known = c_null_ptr
    if (present(about)) then
      about_text = c_text(about)
      known = c_loc(about_text)
    end if
    live = 1
    if (present(promote)) live = merge(1_c_int, 0_c_int, promote)
    call settle(self, penstock_post_model(self%handle, c_text(name), model, size(model, kind=c_size_t), &
                                          int(version, c_int64_t), on, known, live), stat, errmsg)
  end subroutine

  ! The same with a model from a file. An error of reading it is that of Fortran's own stat and errmsg.
  subroutine put_model_file(self, name, path, version, device, about, promote, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name, path
    integer, intent(in) :: version
    character(len=*), intent(in), optional :: device, about
    logical, intent(in), optional :: promote
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(int8), allocatable :: model(:)
    character(len=256) :: reason
    integer(int64) :: bytes
    integer :: unit, status
    open(newunit=unit, file=path, access="stream", form="unformatted", status="old", action="read", &
         iostat=status, iomsg=reason)
    if (status == 0) then
      inquire(unit=unit, size=bytes)
      allocate(model(bytes))
      read(unit, iostat=status, iomsg=reason) model
      close(unit)
    end if
    if (status == 0) then
      call self%put_model(name, model, version, device, about, promote, stat, errmsg)
    else
      call give(status, "the model " // trim(path) // " cannot be read: " // trim(reason), stat, errmsg)
    end if
  end subroutine

  ! Receive the archive of a model, as it was stored. version: exactly this one; the live one by default.
  subroutine get_model(self, name, model, version, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int8), allocatable, intent(inout) :: model(:)
    integer, intent(in), optional :: version
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: number
    if (closed(self, stat, errmsg)) return
    number = 0
    if (present(version)) number = version
    call settle(self, psf_get_model(self%handle, c_text(name), number, model), stat, errmsg)
  end subroutine

  ! The version that is live.
  function model_version(self, name, stat, errmsg) result(version)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer :: version
    integer(c_int64_t) :: answer
    version = 0
    answer = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_model_version(self%handle, c_text(name), answer), stat, errmsg)
    version = int(answer)
  end function

  ! Make a version that is stored the live one, on every shard.
  subroutine promote_model(self, name, version, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: version
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_promote_model(self%handle, c_text(name), int(version, c_int64_t)), stat, errmsg)
  end subroutine

  ! Tell whoever posts a model how well a version does here; less is better, NaN where it has blown up.
  subroutine report_error(self, name, error, version, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: error
    integer, intent(in) :: version
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_report_error(self%handle, c_text(name), real(error, c_double), &
                                            int(version, c_int64_t)), stat, errmsg)
  end subroutine

  ! Run a model: one round trip, and nothing is stored. Outputs have the type and shape the model puts out.
  ! version: exactly this one; the live one by default.
  subroutine infer(self, name, input, output, input2, input3, input4, input5, input6, input7, input8, &
      output2, output3, output4, version, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(in) :: input
    type(*), dimension(..), intent(inout) :: output
    type(*), dimension(..), intent(in), optional :: input2, input3, input4, input5, input6, input7, input8
    type(*), dimension(..), intent(inout), optional :: output2, output3, output4
    integer, intent(in), optional :: version
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(c_ptr) :: inputs, outputs
    integer(c_int64_t) :: number
    if (is_refused("input", input, stat)) return
    if (is_refused("input2", input2, stat)) return
    if (is_refused("input3", input3, stat)) return
    if (is_refused("input4", input4, stat)) return
    if (is_refused("input5", input5, stat)) return
    if (is_refused("input6", input6, stat)) return
    if (is_refused("input7", input7, stat)) return
    if (is_refused("input8", input8, stat)) return
    if (is_refused("output", output, stat)) return
    if (is_refused("output2", output2, stat)) return
    if (is_refused("output3", output3, stat)) return
    if (is_refused("output4", output4, stat)) return
    if (closed(self, stat, errmsg)) return
    call collect(inputs, outputs, reversed, input, output, input2, input3, input4, input5, input6, input7, &
                 input8, output2, output3, output4)
    number = 0
    if (present(version)) number = version
    call settle(self, psf_infer(self%handle, c_text(name), number, inputs, outputs), stat, errmsg)
  end subroutine

  ! The same by the live version. version: which one that was, as the same message tells.
  subroutine infer_versioned(self, name, input, output, version, input2, input3, input4, input5, input6, &
      input7, input8, output2, output3, output4, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(in) :: input
    type(*), dimension(..), intent(inout) :: output
    integer, intent(out) :: version
    type(*), dimension(..), intent(in), optional :: input2, input3, input4, input5, input6, input7, input8
    type(*), dimension(..), intent(inout), optional :: output2, output3, output4
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    type(c_ptr) :: inputs, outputs
    integer(c_int64_t) :: answered
    version = 0
    answered = 0
    if (is_refused("input", input, stat)) return
    if (is_refused("input2", input2, stat)) return
    if (is_refused("input3", input3, stat)) return
    if (is_refused("input4", input4, stat)) return
    if (is_refused("input5", input5, stat)) return
    if (is_refused("input6", input6, stat)) return
    if (is_refused("input7", input7, stat)) return
    if (is_refused("input8", input8, stat)) return
    if (is_refused("output", output, stat)) return
    if (is_refused("output2", output2, stat)) return
    if (is_refused("output3", output3, stat)) return
    if (is_refused("output4", output4, stat)) return
    if (closed(self, stat, errmsg)) return
    call collect(inputs, outputs, reversed, input, output, input2, input3, input4, input5, input6, input7, &
                 input8, output2, output3, output4)
    call settle(self, psf_infer_versioned(self%handle, c_text(name), inputs, outputs, answered), stat, errmsg)
    version = int(answered)
  end subroutine

  ! What a run is given and where its answers go; psf_infer ends both.
  subroutine collect(inputs, outputs, reversed, input, output, input2, input3, input4, input5, input6, &
      input7, input8, output2, output3, output4)
    type(c_ptr), intent(out) :: inputs, outputs
    logical, intent(in), optional :: reversed
    type(*), dimension(..), intent(in) :: input
    type(*), dimension(..), intent(inout) :: output
    type(*), dimension(..), intent(in), optional :: input2, input3, input4, input5, input6, input7, input8
    type(*), dimension(..), intent(inout), optional :: output2, output3, output4
    inputs = psf_fields_new()
    call add(inputs, reversed, "input", input)
    call add(inputs, reversed, "input2", input2)
    call add(inputs, reversed, "input3", input3)
    call add(inputs, reversed, "input4", input4)
    call add(inputs, reversed, "input5", input5)
    call add(inputs, reversed, "input6", input6)
    call add(inputs, reversed, "input7", input7)
    call add(inputs, reversed, "input8", input8)
    outputs = psf_fields_new()
    call add(outputs, reversed, "output", output)
    call add(outputs, reversed, "output2", output2)
    call add(outputs, reversed, "output3", output3)
    call add(outputs, reversed, "output4", output4)
  end subroutine

  ! ---- Waiting: each returns once the thing is there, or fails with penstock_timed_out

  subroutine wait_tensor(self, name, timeout, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: timeout
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_wait_tensor(self%handle, c_text(name), real(timeout, c_double)), stat, errmsg)
  end subroutine

  subroutine wait_dataset(self, name, timeout, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: timeout
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_wait_dataset(self%handle, c_text(name), real(timeout, c_double)), stat, errmsg)
  end subroutine

  subroutine wait_flag(self, name, timeout, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: timeout
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_wait_flag(self%handle, c_text(name), real(timeout, c_double)), stat, errmsg)
  end subroutine

  ! Until a list, or a stream, has at least this many entries; found is how many it has.
  subroutine wait_list(self, name, length, timeout, found, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: length
    real(real64), intent(in) :: timeout
    integer, intent(out), optional :: found
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: answer
    answer = 0
    if (present(found)) found = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_wait_list(self%handle, c_text(name), int(length, c_int64_t), &
                                         real(timeout, c_double), answer), stat, errmsg)
    if (present(found)) found = int(answer)
  end subroutine

  ! Until a version greater than `after` is live, 0 by default: until there is one at all.
  subroutine wait_model(self, name, timeout, after, version, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: timeout
    integer, intent(in), optional :: after
    integer, intent(out), optional :: version
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    integer(c_int64_t) :: than, answer
    than = 0
    if (present(after)) than = after
    answer = 0
    if (present(version)) version = 0
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_wait_model(self%handle, c_text(name), than, real(timeout, c_double), answer), &
                stat, errmsg)
    if (present(version)) version = int(answer)
  end subroutine

  ! ---- The queue of asynchronous puts

  ! Wait until everything that was queued is in the database.
  subroutine flush_queue(self, timeout, stat, errmsg)
    class(penstock_client), intent(in) :: self
    real(real64), intent(in) :: timeout
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_flush(self%handle, real(timeout, c_double)), stat, errmsg)
  end subroutine

  ! How many bytes may be queued, 256 MB at first.
  subroutine set_queue(self, bytes, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer(int64), intent(in) :: bytes
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, penstock_set_queue(self%handle, int(bytes, c_size_t)), stat, errmsg)
  end subroutine

  ! ---- get_tensor_new: allocate the array to the tensor's shape, then receive it. One for each type

  subroutine new_real64(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_real64(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_real32(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real32), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_real32(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_int64(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int64), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_int64(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_int32(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int32), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_int32(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_int16(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int16), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_int16(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_int8(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    integer(int8), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_int8(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_complex64(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    complex(real64), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_complex64(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_complex32(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    complex(real32), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_complex32(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  subroutine new_bool(self, name, array, reversed, stat, errmsg)
    class(penstock_client), intent(in) :: self
    character(len=*), intent(in) :: name
    logical(c_bool), allocatable, intent(inout) :: array(..)
    logical, intent(in), optional :: reversed
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (closed(self, stat, errmsg)) return
    call settle(self, psf_new_bool(self%handle, c_text(name), array, c_flag(reversed)), stat, errmsg)
  end subroutine

  ! ---- Within

  subroutine add_pair(fields, reversed, name, array)
    type(c_ptr), intent(in) :: fields
    logical, intent(in), optional :: reversed
    character(len=*), intent(in), optional :: name
    type(*), dimension(..), intent(in), optional :: array
    if (present(name) .and. present(array)) then
      call add(fields, reversed, name, array)
    else if (present(name) .or. present(array)) then
      call psf_fields_unpaired(fields)
    end if
  end subroutine

  subroutine add(fields, reversed, name, array)
    type(c_ptr), intent(in) :: fields
    logical, intent(in), optional :: reversed
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(in), optional :: array
    if (present(array)) call psf_fields_add(fields, c_text(name), array, c_flag(reversed))
  end subroutine

  ! Give the caller the outcome of a call, or stop.
  subroutine settle(self, status, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer(c_int), intent(in) :: status
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (status == penstock_ok) then
      if (present(stat)) stat = penstock_ok
    else
      call give(int(status), fortran_text(psf_error(self%handle)), stat, errmsg)
    end if
  end subroutine

  function closed(self, stat, errmsg)
    class(penstock_client), intent(in) :: self
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    logical :: closed
    closed = .not. c_associated(self%handle)
    if (closed) call give(penstock_not_connected, "the client is not connected: call connect", stat, errmsg)
  end function

  pure function c_text(text) result(terminated)
    character(len=*), intent(in) :: text
    character(kind=c_char, len=:), allocatable :: terminated
    terminated = trim(text) // c_null_char
  end function

  pure function c_stream(stream) result(terminated)
    character(len=*), intent(in), optional :: stream
    character(kind=c_char, len=:), allocatable :: terminated
    terminated = c_text(default_stream)
    if (present(stream)) terminated = c_text(stream)
  end function

  pure function c_flag(given) result(flag)
    logical, intent(in), optional :: given
    integer(c_int) :: flag
    flag = 0
    if (present(given)) flag = merge(1_c_int, 0_c_int, given)
  end function

  function c_time(time) result(seconds)
    real(real64), intent(in), optional :: time
    real(c_double) :: seconds
    seconds = ieee_value(seconds, ieee_quiet_nan)
    if (present(time)) seconds = time
  end function
end module
